"""What a command says when the system, not the user, stops it."""

import argparse
import ast
import errno
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from instance_segmentation.cli import ending_on_signals, extra_of, run
from instance_segmentation.errors import WeightsError


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


@pytest.mark.parametrize("module, extra", [
    ("torch", "train"), ("mmengine.config", "train"), ("optuna", "tune"), ("nncf", "int8")])
def test_a_package_of_an_extra_that_is_missing_is_named_with_the_command_that_installs_it(capsys, module, extra):
    def call(args):
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    assert run(argparse.ArgumentParser("tool"), [], call) == 1
    error = capsys.readouterr().err
    assert f"pip install 'instance-segmentation[{extra}]'" in error and f"({module} is missing)" in error


def test_a_missing_module_of_no_extra_is_our_bug():
    def call(args):
        raise ModuleNotFoundError("No module named 'nonsense'", name="nonsense")

    with pytest.raises(ModuleNotFoundError):
        run(argparse.ArgumentParser("tool"), [], call)


def test_every_package_of_an_extra_is_known_by_its_import_name():
    """Those of [dev] apart, setup.py's extras hold nothing that could be missing without a word."""
    imported = {"onedl-mmengine": "mmengine", "onedl-mmcv": "mmcv", "onedl-mmdetection": "mmdet",
                "faster-coco-eval": "faster_coco_eval"}
    text = (Path(__file__).parents[2] / "setup.py").read_text(encoding="utf-8")
    extras = ast.literal_eval(re.search(r"^EXTRAS = (\{.*?^\})", text, re.MULTILINE | re.DOTALL)[1])
    for extra, requirements in extras.items():
        for requirement in requirements if extra != "dev" else ():
            name = re.match(r"[\w-]+", requirement)[0]
            assert extra_of(imported.get(name, name)) == extra


def test_messages_name_the_flags_of_the_program_at_hand(capsys):
    def call(args):
        raise WeightsError("no.pth: no such file; give it to --load-weights, not to --load-weights-now or -m")

    assert run(argparse.ArgumentParser("tool"), [], call, {"--load-weights": "--ckpt", "-m": "--ckpt"}) == 1
    assert capsys.readouterr().err == "tool: no.pth: no such file; give it to --ckpt, not to --load-weights-now or --ckpt\n"


@pytest.fixture
def no_nohup():
    """Signals as a program has them that was started from a terminal: `nohup pytest` hands down an ignored SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_unwind_the_program_once(no_nohup, number, capsys):
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
