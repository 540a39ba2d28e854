"""`instseg replay`: repeat a training from its run.lock.yaml."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg replay my_work/outputs
  instseg replay my_work/outputs --save-checkpoints-to again --accept-changes
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg replay", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Repeat a training from its run.lock.yaml, and compare. Refuses when template, data or weights have changed.")
    result.add_argument("run", type=Path, metavar="RUN", help="the training's output folder, or its work dir")
    result.add_argument("--save-checkpoints-to", type=Path, metavar="DIR", help="output folder (default: RUN_replay)")
    result.add_argument("--accept-changes", action="store_true",
                        help="train with what is there now, although it is not what it was")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.replay`."""
    from instance_segmentation import api
    api.replay(args.run, save_checkpoints_to=args.save_checkpoints_to, accept_changes=args.accept_changes)
