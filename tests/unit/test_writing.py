"""Files that are whole or as before, and folders that one program at a time writes into."""

import os
import subprocess
import sys

import pytest

from instance_segmentation.errors import TrainingError
from instance_segmentation.locking import alone
from instance_segmentation.writing import remove_unfinished, replacing

HOLD = """
import os, sys, time
from instance_segmentation.locking import alone
with alone(sys.argv[1], lambda holder: ValueError(holder)):
    if os.fork() == 0:  # as a loader's process, which outlives the one that holds the lock
        print("held", flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def refuse(holder):
    return TrainingError(f"held by {holder}")


def test_two_that_write_one_file_each_write_a_whole_one(tmp_path):
    file = tmp_path / "latest.pth"
    with replacing(file) as first:
        first.write_text("A, first ")
        with replacing(file) as second:
            second.write_text("B, whole")
        assert file.read_text() == "B, whole"
        with first.open("a") as more:
            more.write("and second half")
    assert file.read_text() == "A, first and second half" and os.listdir(tmp_path) == ["latest.pth"]


def test_what_a_kill_left_is_removed(tmp_path):
    for name in ("latest.pth.12-ab.tmp", "best.pth.tmp", "notes.tmp", "latest.pth"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path, "*.pth")
    assert sorted(os.listdir(tmp_path)) == ["latest.pth", "notes.tmp"]


def test_a_second_one_is_refused_and_told_who_is_there(tmp_path):
    with alone(tmp_path / "lock", refuse):
        with pytest.raises(TrainingError, match=f"held by process {os.getpid()} on "), alone(tmp_path / "lock", refuse):
            pass
        with pytest.raises(TrainingError), alone(tmp_path / "lock", refuse):  # being refused lets nobody in
            pass
    with alone(tmp_path / "lock", refuse):
        pass


def test_the_lock_ends_with_its_process_and_not_with_that_ones_children(tmp_path, repo):
    environment = dict(os.environ, PYTHONPATH=str(repo))
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True,
                          env=environment, start_new_session=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=f"process {process.pid}"), alone(tmp_path / "lock", refuse):
            pass
        process.kill()
        process.wait()
        with alone(tmp_path / "lock", refuse):
            pass
        os.killpg(process.pid, 9)
