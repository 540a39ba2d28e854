"""What a command says when the system, not the user, stops it."""

import argparse
import errno
import os
import signal
import threading

import pytest

from instance_segmentation.cli import ending_on_signals, run


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_unwind_the_program_once(number, capsys):
    closed = []

    def call(args):
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)  # a second one does not interrupt the closing of files
            closed.append(True)

    with ending_on_signals():
        assert run(argparse.ArgumentParser("tool"), [], call) == 128 + number
    assert closed and capsys.readouterr().err == f"tool: ended by {number.name}\n"
    assert signal.getsignal(number) is signal.SIG_DFL


def test_signals_of_another_thread_or_nohup_are_left_alone():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    raised = []

    def work():
        try:
            with ending_on_signals():
                pass
        except ValueError as error:  # signals belong to the main thread
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not raised
