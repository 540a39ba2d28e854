"""What a command says when the system, not the user, stops it."""

import argparse
import errno
import os

import pytest

from instance_segmentation.cli import run


def stopped(number):
    def call(args):
        raise OSError(number, os.strerror(number), "outputs/metrics.yaml")
    return call


@pytest.mark.parametrize("number, remedy", [(errno.ENOSPC, "make room"), (errno.EROFS, "choose another place")])
def test_a_full_or_forbidden_disk_is_one_line(capsys, number, remedy):
    assert run(argparse.ArgumentParser("tool"), [], stopped(number)) == 1
    error = capsys.readouterr().err
    assert error.startswith("tool: outputs/metrics.yaml: ") and remedy in error and error.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    with pytest.raises(OSError):
        run(argparse.ArgumentParser("tool"), [], stopped(errno.EINVAL))
