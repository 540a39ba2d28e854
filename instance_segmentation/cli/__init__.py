"""The command line: one file per verb, each a parser and one call into `api`."""

import errno
import os
import sys
import traceback

from instance_segmentation.errors import InstSegError

ROOM, ACCESS = "make room and run the command again", "choose another place, or change the permissions"
REMEDIES = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EACCES: ACCESS, errno.EROFS: ACCESS}


def run(parser, argv, call):
    """Parse `argv`, run `call(args)` and turn the outcome into an exit code.

    Returns 0, or 1 after printing a user's mistake, or a disk that is full or forbidden, as one message on stderr, or 130 after
    Ctrl-C. A bug keeps its traceback; `--verbose` shows the traceback of a user's mistake too.
    """
    args = parser.parse_args(argv)
    try:
        call(args)
    except InstSegError as error:
        if getattr(args, "verbose", False):
            traceback.print_exc()
        _tell(f"{parser.prog}: {error}")
        return 1
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


def _tell(text):
    from instance_segmentation.report import printable
    print(printable(text), file=sys.stderr)
