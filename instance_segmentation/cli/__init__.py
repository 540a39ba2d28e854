"""The command line: one file per verb, each a parser and one call into `api`."""

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import traceback

from instance_segmentation.errors import InstSegError, MissingExtraError

ROOM, ACCESS = "make room and run the command again", "choose another place, or change the permissions"
REMEDIES = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EACCES: ACCESS, errno.EROFS: ACCESS}

EXTRAS = {
    **dict.fromkeys(("torch", "mmengine", "mmcv", "mmdet", "faster_coco_eval", "jinja2", "matplotlib", "shapely", "tensorboard"),
                    "train"),
    "nncf": "int8", "onnx": "onnx", "onnxruntime": "onnx", "optuna": "tune", "tritonclient": "ovms",
}


def run(parser, argv, call, flags=None):
    """Parse `argv`, run `call(args)` and turn the outcome into an exit code.

    `flags` holds the parser's own names of flags that messages call by ours: {"--load-weights": "--ckpt"}.

    Returns 0, or 1 after printing a user's mistake, or a disk that is full or forbidden, as one message on stderr, or 130 after
    Ctrl-C, 143 after SIGTERM where `ending_on_signals` made an exception of it. A bug keeps its traceback; `--verbose` shows the
    traceback of a user's mistake too.
    """
    args = parser.parse_args(argv)
    try:
        call(args)
    except InstSegError as error:
        if getattr(args, "verbose", False):
            traceback.print_exc()
        _tell(f"{parser.prog}: {renamed(str(error), flags or {})}")
        return 1
    except ModuleNotFoundError as error:
        if not (extra := extra_of(error.name or "")):
            raise
        _tell(f"{parser.prog}: {MissingExtraError(extra, 'This command')} ({error.name} is missing)")
        return 1
    except Ended as error:
        _tell(f"{parser.prog}: ended by {error.signal.name}")
        return 128 + error.signal
    except KeyboardInterrupt:
        _tell(f"{parser.prog}: interrupted")
        return 130
    except BrokenPipeError:  # `| head` closed the pipe: not an error, but Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        _tell(f"{parser.prog}: {error.filename or 'a file'}: {error.strerror}; {REMEDIES[error.errno]}")
        return 1
    return 0


def renamed(message, flags):
    """The message with the flags that the program at hand has."""
    for name, own in flags.items():
        message = re.sub(rf"(?<![\w-]){name}(?![\w-])", own, message)
    return message


def extra_of(module):
    """The extra that brings a package, None where it is not one of an extra's: its absence is then our bug."""
    return EXTRAS.get(module.partition(".")[0])


class Ended(KeyboardInterrupt):
    """The system ends the program, by SIGTERM (`docker stop`, a batch system) or SIGHUP (a terminal that is closed)."""

    def __init__(self, number):
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def ending_on_signals():
    """Let SIGTERM and SIGHUP unwind the program as Ctrl-C does: open files are closed, so that a video can be played."""
    def end(number, frame):
        for other in before:  # the first one counts: another one would interrupt the closing of files
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    known = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in known if signal.getsignal(number) is signal.SIG_DFL}  # not nohup's
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(text):
    from instance_segmentation.report import printable
    print(printable(text), file=sys.stderr)
