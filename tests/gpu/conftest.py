"""The tests of this folder need an NVIDIA GPU and are skipped without one.

INSTSEG_GPU_TESTS_DEVICE=cpu is a dry run, which shows that the tests themselves work. INSTSEG_GPU_REPORT names a JSON for each
check's outcome, seconds and numbers; `tests/gpu/run.sh` sets up a machine and runs all.
"""

import json
import os
from pathlib import Path

import pytest
import torch

HERE, DEVICE = Path(__file__).parent, os.environ.get("INSTSEG_GPU_TESTS_DEVICE", "cuda")
outcomes = []


def pytest_collection_modifyitems(items):
    """Mark this folder's tests, and skip them where there is no GPU."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if DEVICE == "cuda" and not torch.cuda.is_available():
                reason = "no NVIDIA GPU that torch can use; INSTSEG_GPU_TESTS_DEVICE=cpu: a dry run"
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report):
    """Note a check's outcome."""
    if report.when == "call" or report.outcome != "passed":
        outcomes.append(dict(name=report.nodeid.split("::")[-1], outcome=report.outcome, seconds=round(report.duration, 2),
                             numbers=dict(report.user_properties), error=str(report.longrepr)[-2000:] if report.failed else ""))


def pytest_sessionfinish():
    """Write the report."""
    if path := os.environ.get("INSTSEG_GPU_REPORT"):
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        facts = dict(device=DEVICE, gpu=gpu, torch=torch.__version__, cuda=torch.version.cuda)
        Path(path).write_text(json.dumps(dict(**facts, checks=outcomes), indent=1))


@pytest.fixture(scope="session")
def device():
    return DEVICE


@pytest.fixture(scope="session")
def gpu_num():
    """What train's argument is for that device."""
    return 1 if DEVICE == "cuda" else 0


@pytest.fixture(scope="session", autouse=True)
def registered():
    from instance_segmentation.engine import register
    register("Testing")


@pytest.fixture(scope="session")
def compiled_ops():
    """Skip where mmcv's operations are stand-ins."""
    import mmcv._ext
    if mmcv._ext.__file__.endswith(".py"):
        pytest.skip("mmcv's operations are not compiled here")
