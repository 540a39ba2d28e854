"""`instseg replay`: repeat a training from its run.lock.yaml."""

import argparse
import os
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg replay my_work/outputs
  instseg replay my_work/outputs --save-checkpoints-to again --accept-changes
  instseg replay my_work/outputs --moved /data/strawberry=/mnt/strawberry
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg replay", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Repeat a training from its run.lock.yaml, and compare. Refuses when template, data or weights have changed.")
    result.add_argument("run", type=Path, metavar="RUN", help="the training's output folder, or its work dir")
    result.add_argument("--save-checkpoints-to", type=Path, metavar="DIR", help="output folder (default: RUN_replay)")
    result.add_argument("--moved", action="append", default=[], metavar="THEN=NOW", type=move,
                        help="a folder or file of data or weights that lies elsewhere now; may be repeated")
    result.add_argument("--accept-changes", action="store_true",
                        help="train with what is there now, although it is not what it was")
    result.add_argument("--trust-checkpoint", action="store_true",
                        help="unpickle arbitrary objects of the checkpoint that it started from, which can run code; the run "
                             "itself cannot ask for it")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def move(text):
    """Read THEN=NOW as two absolute paths."""
    then, found, now = text.partition("=")
    if not (then and found and now):
        raise argparse.ArgumentTypeError(f"'{text}': expected THEN=NOW, for example /data/photos=/mnt/photos")
    return os.path.abspath(then), os.path.abspath(now)


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.replay`."""
    from instance_segmentation import api
    api.replay(args.run, save_checkpoints_to=args.save_checkpoints_to, moved=args.moved, accept_changes=args.accept_changes,
               trust_checkpoint=args.trust_checkpoint)
