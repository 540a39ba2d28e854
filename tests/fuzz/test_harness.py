"""The harness sees everything that it promises to see."""

import os
import subprocess
import time
from pathlib import Path

from instance_segmentation.errors import DatasetError

from .harness import run


def every_kind(seed, folder):
    """Accepted, refused, and each fault once."""
    if seed == 1:
        raise DatasetError("refused")
    if seed == 2:
        raise KeyError("a bug")
    if seed == 3:
        os.abort()
    if seed == 4:
        subprocess.run(["true"], check=True)
    if seed == 5:
        (folder.parents[1] / "outside").write_text("x")
    if seed == 6:
        time.sleep(60)
    if seed == 7:
        bytes(range(256)) * 6_000_000
        time.sleep(1)
    if seed == 8:
        (folder / "inside").write_text("x")


def test_every_kind_of_fault_is_seen_and_the_rest_goes_on(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    report = run(every_kind, 10, folder)
    assert dict(report.counts) == dict(accepted=3, refused=1, traceback=1, crash=1, code=1, escape=1, hang=1, memory=1)
    assert [(seed, kind) for seed, kind, _ in report.findings] == [
        (2, "traceback"), (3, "crash"), (4, "code"), (5, "escape"), (6, "hang"), (7, "memory")]
    assert "a bug" in report.findings[0][2]
    assert not Path("outside").exists()
