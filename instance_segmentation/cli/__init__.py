"""The command line: one file per verb, each a parser and one call into `api`."""

import errno
import os
import re
import sys
import traceback

from instance_segmentation.errors import InstSegError, MissingExtraError

ROOM, ACCESS = "make room and run the command again", "choose another place, or change the permissions"
REMEDIES = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EACCES: ACCESS, errno.EROFS: ACCESS}

EXTRAS = {
    **dict.fromkeys(("torch", "mmengine", "mmcv", "mmdet", "faster_coco_eval", "jinja2", "matplotlib", "shapely", "tensorboard"),
                    "train"),
    "nncf": "int8", "onnx": "onnx", "onnxruntime": "onnx", "datumaro": "import", "optuna": "tune", "tritonclient": "ovms",
}


def run(parser, argv, call, flags=None):
    """Parse `argv`, run `call(args)` and turn the outcome into an exit code.

    `flags` holds the parser's own names of flags that messages call by ours: {"--load-weights": "--ckpt"}.

    Returns 0, or 1 after printing a user's mistake, or a disk that is full or forbidden, as one message on stderr, or 130 after
    Ctrl-C. A bug keeps its traceback; `--verbose` shows the traceback of a user's mistake too.
    """
    args = parser.parse_args(argv)
    try:
        call(args)
    except InstSegError as error:
        if getattr(args, "verbose", False):
            traceback.print_exc()
        print(f"{parser.prog}: {renamed(str(error), flags or {})}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if not (extra := extra_of(error.name or "")):
            raise
        print(f"{parser.prog}: {MissingExtraError(extra, 'This command')} ({error.name} is missing)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` closed the pipe: not an error, but Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        print(f"{parser.prog}: {error.filename or 'a file'}: {error.strerror}; {REMEDIES[error.errno]}", file=sys.stderr)
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
