"""Installing from nothing: the base wheel in a clean venv, and init_venv.sh in a path with spaces."""

import os
import re
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"


def run(*command, **options):
    """Run to the end; returns what was printed."""
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            **options)
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_base_wheel_lists_and_instantiates_without_torch(repo, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", repo)
    run(sys.executable, "-m", "venv", tmp_path / "clean")
    python, instseg = tmp_path / "clean/bin/python", tmp_path / "clean/bin/instseg"
    run(python, "-m", "pip", "install", "--quiet", next((tmp_path / "dist").glob("*.whl")))
    run(python, "-m", "pip", "check")
    assert "torch" not in run(python, "-m", "pip", "list", "--format=freeze")
    assert TEMPLATE in run(instseg, "ls", cwd=tmp_path)
    run(instseg, "new", TEMPLATE, "my work", "--do-not-load-snapshot", cwd=tmp_path)
    assert (tmp_path / "my work/model.py").is_file()


def test_missing_extra_is_answered_with_the_pip_line(repo, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "clean")
    run(tmp_path / "clean/bin/python", "-m", "pip", "install", "--quiet", repo)
    result = subprocess.run([tmp_path / "clean/bin/instseg", "quickstart", "--output", tmp_path / "out"],
                            capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'instance-segmentation[train]'" in result.stderr
    assert "Traceback" not in result.stderr


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
