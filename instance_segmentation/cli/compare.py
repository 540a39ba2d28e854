"""`instseg compare`: trainings side by side."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """example:
  instseg compare my_work/outputs my_work/outputs_replay other_work
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg compare", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Put trainings side by side: what the best validation of each measured, the settings in which they differ, "
                    "and their curves in one picture.")
    result.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output folders of trainings, or work dirs")
    result.add_argument("--save-picture-to", type=Path, default=Path("compare.png"), metavar="FILE",
                        help="curves of all (default: compare.png)")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.compare`."""
    from instance_segmentation import api
    api.compare(args.runs, save_picture_to=args.save_picture_to)
