"""init_venv.sh up to the first download, and its habits when it is stopped. No network, no packages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start(repo, *args, **environment):
    """Start init_venv.sh with pip cut off from every index."""
    fixed = {"PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    return subprocess.Popen([str(repo / "init_venv.sh"), *map(str, args)], env={**os.environ, **fixed, **environment},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(repo, *args, **environment):
    """Exit code and everything printed."""
    process = start(repo, *args, **environment)
    output = process.communicate(timeout=120)[0]
    return process.returncode, output


def stub(path, body):
    """An executable that stands in for Python: `body` first, then the real one."""
    path.write_text(f'#!/bin/sh\n{body}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


MISSING = {
    "compiler": ("", {"CXX": "no-such-compiler"}, "sudo apt install g++"),
    "old Python": ('case "$*" in *"exit(sys.version_info <"*) exit 1 ;; esac', {}, "3.10 or newer is needed"),
    "venv module": ('case "$*" in *"import venv"*) exit 1 ;; esac', {}, "-venv"),
    "headers": ('case "$*" in *Python.h*) exit 1 ;; esac', {}, "-dev"),
}


@pytest.mark.parametrize("what", MISSING)
def test_missing_part_is_one_sentence_before_anything_is_made(repo, tmp_path, what):
    body, environment, package = MISSING[what]
    code, output = run(repo, tmp_path / "venv", PYTHON=stub(tmp_path / "python", body), **environment)
    assert code == 1
    assert len(output.splitlines()) == 1
    assert package in output
    assert not (tmp_path / "venv").exists()


def test_no_python_names_the_packages(repo, tmp_path):
    code, output = run(repo, tmp_path / "venv", PYTHON="no-such-python")
    assert (code, len(output.splitlines())) == (1, 1)
    assert "sudo apt install python3" in output


def test_foreign_folder_is_left_alone(repo, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    code, output = run(repo, tmp_path)
    assert code == 1
    assert "is not a virtual environment; nothing was changed" in output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_cuda_needs_nvcc(repo, tmp_path):
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep)
                           if not os.path.exists(os.path.join(part, "nvcc")))
    code, output = run(repo, tmp_path / "venv", "--cuda", CUDA_HOME=str(tmp_path), PATH=path)
    assert (code, "nvcc" in output) == (1, True)


def program(folder, name, body):
    """A program of that name in a folder, which goes first in the PATH that is returned."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def nvcc(tmp_path):
    """PATH with an nvcc of torch's CUDA, and nothing in CUDA_HOME."""
    says = 'echo "Cuda compilation tools, release 13.0, V13.0.88"'
    return dict(CUDA_HOME=str(tmp_path), PATH=program(tmp_path / "bin", "nvcc", says))


@pytest.mark.parametrize("version", ["12.8", "14.0"])
def test_an_nvcc_that_torch_will_refuse_is_refused_before_anything_is_downloaded(repo, tmp_path, nvcc, version):
    program(tmp_path / "bin", "nvcc", f'echo "Cuda compilation tools, release {version}, V{version}.1"')
    code, output = run(repo, tmp_path / "venv", "--cuda", **nvcc)
    assert (code, len(output.splitlines())) == (1, 1)
    assert f"is of CUDA {version[:2]}, torch" in output and "needs one of CUDA 13" in output
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("flags, needed", [([], 4), (["--cuda"], 10)])
def test_the_room_that_is_asked_for_is_checked(repo, tmp_path, nvcc, flags, needed):
    free = (needed - 1) * 1048576
    program(tmp_path / "bin", "df", f'echo Filesystem; echo "/dev/sda 99999999 1 {free} 1% /"')
    code, output = run(repo, tmp_path / "venv", *flags, **nvcc)
    assert (code, f"about {needed} GB are needed" in output) == (1, True)


ALL = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
ARCHITECTURES = {
    "no GPU is visible": ("exit 9", {}, ALL),
    "two kinds of GPU": ("printf '9.0\\n8.6\\n9.0\\n'", {}, "8.6;9.0"),
    "an old driver": ("echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2", {}, ALL),
    "the user says": ("echo 9.0", dict(TORCH_CUDA_ARCH_LIST="8.0"), "8.0")}


@pytest.mark.parametrize("situation", ARCHITECTURES)
def test_mmcv_is_compiled_for_the_gpus_that_are_there_or_for_all(repo, tmp_path, nvcc, situation):
    """torch's own choice without a visible GPU is an IndexError."""
    body, environment, expected = ARCHITECTURES[situation]
    program(tmp_path / "bin", "nvidia-smi", body)
    python = stub(tmp_path / "python", 'case "$*" in *"-m venv"*) echo "for $TORCH_CUDA_ARCH_LIST."; exit 3 ;; esac')
    given = dict(TORCH_CUDA_ARCH_LIST="") | nvcc | environment
    code, output = run(repo, tmp_path / "venv", "--cuda", PYTHON=python, **given)
    assert code == 1 and f"for {expected}." in output


def test_unknown_flag_is_a_usage_error(repo):
    code, output = run(repo, "--gpu")
    assert code == 2
    assert output.startswith("usage: ./init_venv.sh")


def test_failed_step_shows_the_end_of_its_log_and_where_it_lies(repo, tmp_path):
    venv = tmp_path / "my venv"
    body = 'case "$*" in *"-m venv"*) echo "the disk is full" >&2; exit 3 ;; esac'
    code, output = run(repo, venv, PYTHON=stub(tmp_path / "python", body))
    assert code == 1
    assert "the disk is full" in output
    assert str(venv / "setup.log") in output
    assert "run this again to go on" in output


def wait_for(condition):
    """Poll for up to 20 s."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited 20 s in vain")


def test_ctrl_c_ends_the_step_and_a_second_run_waits_for_nobody(repo, tmp_path):
    venv, pid_file = tmp_path / "venv", tmp_path / "pid"
    slow = stub(tmp_path / "python", f'case "$*" in *"-m venv"*) echo $$ > "{pid_file}"; exec sleep 300 ;; esac')
    process = start(repo, venv, PYTHON=slow)
    wait_for(lambda: pid_file.exists() and pid_file.read_text().strip())
    code, output = run(repo, venv)
    assert (code, "another init_venv.sh is at work" in output) == (1, True)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 130
    assert "Run it again to go on" in output

    def gone():
        try:
            return Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    wait_for(gone)
    code, output = run(repo, venv)  # goes on by itself until pip, which has no index here
    assert "another init_venv.sh" not in output
    assert "No matching distribution found" in output
