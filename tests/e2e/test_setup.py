"""Installing from nothing: the base wheel in a clean venv, and init_venv.sh in a path with spaces."""

import os
import re
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.e2e
TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"


def run(*command, **options):
    """Run to the end; returns what was printed."""
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            **options)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="session")
def clean_venv(repo, tmp_path_factory):
    """bin folder of a venv with nothing but our wheel and its base requirements."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", repo)  # by way of an sdist: leaves no build/ behind
    run(sys.executable, "-m", "venv", folder / "venv")
    run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", next((folder / "dist").glob("*.whl")))
    return folder / "venv/bin"


def test_base_wheel_lists_and_instantiates_without_torch(clean_venv, tmp_path):
    run(clean_venv / "python", "-m", "pip", "check")
    assert "torch" not in run(clean_venv / "python", "-m", "pip", "list", "--format=freeze")
    assert TEMPLATE in run(clean_venv / "instseg", "ls", cwd=tmp_path)
    run(clean_venv / "instseg", "new", TEMPLATE, "my work", "--do-not-load-snapshot", cwd=tmp_path)
    assert (tmp_path / "my work/model.py").is_file()
    assert "usage" in run(clean_venv / "python", tmp_path / "my work/train.py", "--help", cwd="/")


def test_missing_extra_is_answered_with_the_pip_line(clean_venv, tmp_path):
    result = subprocess.run([clean_venv / "instseg", "quickstart", "--output", tmp_path / "out"], capture_output=True,
                            text=True)
    assert result.returncode == 1
    assert "pip install 'instance-segmentation[train]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_init_venv_finishes_what_a_kill_interrupted_and_is_quick_when_done(repo, tmp_path):
    venv = tmp_path / "a venv"
    process = subprocess.Popen([repo / "init_venv.sh", venv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    for line in process.stdout:
        if line.startswith("[2/5]"):
            break
    time.sleep(3)  # into the download of torch
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    output = run(repo / "init_venv.sh", venv)
    assert re.search(r"\[1/5\].*done before", output)
    for line in (r"mmcv +2\.3\.6 with ops, nms works", r"openvino .*devices: .*CPU", "tools/quickstart.sh"):
        assert re.search(line, output), output
    started = time.monotonic()
    assert "is ready" in run(repo / "init_venv.sh", venv, cwd=os.path.sep)
    assert time.monotonic() - started < 5
    run(venv / "bin/python", "-m", "pip", "check")
