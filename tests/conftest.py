"""Fixtures for all tiers.

unit: no torch model, seconds in all. component: builds networks. e2e: the real commands. nightly: long; run by hand.
Real photos come from the folder in INSTSEG_TEST_DATA, or from `shared/data` beside the repository; without either the
sample data set is used, and the header of the test run says which.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
# A shell starts what runs in its background with Ctrl-C ignored, and programs that the tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)


def real_data():
    """Folder with strawberry/, pennfudan/, … or None."""
    named = os.environ.get("INSTSEG_TEST_DATA")
    folder = Path(named) if named else REPO.parent / "shared" / "data"
    if named and not folder.is_dir():
        raise pytest.UsageError(f"INSTSEG_TEST_DATA={named}: no such folder")
    return folder if folder.is_dir() else None


def pytest_report_header():
    """Say which data the tests use, and the room that their work dirs have: a full disk fails in many disguises."""
    return [f"data: {real_data() or 'the generated sample data set (set INSTSEG_TEST_DATA for real photos)'}",
            f"room: {shutil.disk_usage(tempfile.gettempdir()).free / 1e9:.1f} GB in {tempfile.gettempdir()}"]


@pytest.fixture(scope="session")
def repo():
    """The repository's root."""
    return REPO


@pytest.fixture(scope="session")
def data_root():
    """Folder of real data sets; tests that need one and have no substitute are skipped without it."""
    folder = real_data()
    if folder is None:
        pytest.skip("needs real photos: set INSTSEG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory):
    """A small generated data set: train.json, val.json, train/, val/."""
    from instance_segmentation.data.sample import write_sample_dataset
    return write_sample_dataset(tmp_path_factory.mktemp("sample"), train=8, val=4, size_hw=(160, 192), seed=1)
