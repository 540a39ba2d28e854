"""The command line: one file per verb, each a parser and one call into `api`."""

import os
import sys
import traceback

from instance_segmentation.errors import InstSegError


def run(parser, argv, call):
    """Parse `argv`, run `call(args)` and turn the outcome into an exit code.

    Returns 0, or 1 after printing a user's mistake as one message on stderr, or 130 after Ctrl-C. A bug keeps its traceback;
    `--verbose` shows the traceback of a user's mistake too.
    """
    args = parser.parse_args(argv)
    try:
        call(args)
    except InstSegError as error:
        if getattr(args, "verbose", False):
            traceback.print_exc()
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` closed the pipe: not an error, but Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
