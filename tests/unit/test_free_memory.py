"""Memory that is left, by what Linux says about a machine and its control groups (files made up in a folder)."""

import pytest

from instance_segmentation.engine.free_memory import free_memory

MIB = 2**20
NONE = {1: str(2**63 - 4096), 2: "max"}  # how the versions write that there is no limit


@pytest.fixture
def machine(tmp_path):
    """A machine with 1000 MiB free and no groups."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:   2048000 kB\nMemAvailable:   {1000 * 1024} kB\n")
    return tmp_path


def group(machine, version, path, limit, used, cache=0):
    """A group's folder; sizes in MiB, no limit when it is None."""
    folder = machine / {1: "sys/fs/cgroup/memory", 2: "sys/fs/cgroup"}[version] / path.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
             2: ("memory.max", "memory.current", "inactive_file")}[version]
    (folder / names[0]).write_text(NONE[version] if limit is None else str(limit * MIB))
    (folder / names[1]).write_text(str(used * MIB))
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache * MIB}\n")


def belongs(machine, version, path):
    line = {1: f"9:name=systemd:/\n4:memory:{path}\n0::/\n", 2: f"0::{path}\n"}[version]
    (machine / "proc/self/cgroup").write_text(line)


def test_without_groups_it_is_the_machines(machine):
    assert free_memory(machine) == 1000 * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_jobs_own_group_counts(machine, version):
    """SLURM's and systemd's limits lie in groups below the root, which has none."""
    belongs(machine, version, "/slurm/uid_7/job_42/step_0")
    group(machine, version, "/", None, 900)
    group(machine, version, "/slurm/uid_7/job_42/step_0", 600, 250, cache=50)
    assert free_memory(machine) == 400 * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_the_fullest_of_the_groups_above_counts(machine, version):
    belongs(machine, version, "/slice/unit")
    group(machine, version, "/", None, 0)
    group(machine, version, "/slice", 500, 300)
    group(machine, version, "/slice/unit", 800, 100)
    assert free_memory(machine) == 200 * MIB


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("path", ["/docker/0123abcd", "/../../system.slice"], ids=["host's path", "outside of the namespace"])
def test_a_container_shows_its_group_as_the_root(machine, version, path):
    belongs(machine, version, path)
    group(machine, version, "/", 300, 100)
    assert free_memory(machine) == 200 * MIB


def test_a_group_beyond_its_limit_leaves_nothing(machine):
    belongs(machine, 2, "/job")
    group(machine, 2, "/job", 100, 150)
    assert free_memory(machine) == 0


def test_free_memory_is_some_of_this_machines():
    with open("/proc/meminfo") as lines:
        total = 1024 * int(next(line for line in lines if line.startswith("MemTotal")).split()[1])
    assert 0 < free_memory() < total
