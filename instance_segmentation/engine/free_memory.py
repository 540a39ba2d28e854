"""How much memory programs may still take, where a machine, a container, SLURM or systemd limits them."""

from pathlib import Path, PurePosixPath

# Per version of Linux's control groups: where they are mounted, what the files are called, and the cache that the kernel gives up
GROUPS = {2: ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
          1: ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}


def free_memory(root="/"):
    """Bytes that this process may still take: what is free on the machine, or in the fullest of the groups it belongs to.

    Args:
        root: Where /proc and /sys lie.
    """
    root = Path(root)
    lines = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
    return min([1024 * int(lines["MemAvailable"].split()[0]), *_left_in_groups(root)])


def _left_in_groups(root):
    """Bytes left in each group with a limit: the process's own, and those that this one belongs to."""
    own = root / "proc/self/cgroup"
    for line in own.read_text().splitlines() if own.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            mount, *names = GROUPS[1 if controllers else 2]
            for group in {_existing(root / mount, place) for place in (path, *map(str, PurePosixPath(path).parents))}:
                yield from _left(group, *names)


def _existing(mount, path):
    """A group's folder; the mount itself where a container does not show the groups outside of it."""
    folder = mount / path.lstrip("/")
    return folder if ".." not in folder.parts and folder.is_dir() else mount


def _left(group, limit, used, cache):
    """Bytes left in one group; nothing when it has no limit. Version 1 writes a huge number for none."""
    if not (group / limit).is_file() or (text := (group / limit).read_text().strip()) == "max":
        return
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    yield max(0, int(text) - int((group / used).read_text()) + int(stat.get(cache, 0)))
