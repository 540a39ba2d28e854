"""`instseg quickstart`, called by tools/quickstart.sh: every verb once, on sample data or the user's."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_input_size

EXAMPLE = """examples:
  tools/quickstart.sh
  tools/quickstart.sh --data my_coco_folder --input-size 384 --epochs 30
"""


def parser(work_dir=None):
    """Build the argument parser; the quickstart makes its own work dir."""
    result = argparse.ArgumentParser(
        prog="instseg quickstart", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make sample data, instantiate a template, fine-tune it, evaluate, export to OpenVINO IR, evaluate "
                    "that, draw predictions, and print the checkpoint beside the IR.")
    result.add_argument("--data", type=Path, metavar="DIR",
                        help="your COCO folder: train.json + train/, annotations/instances_train.json + images/, one "
                             ".json + images/ … (default: a generated sample data set)")
    result.add_argument("--template", default="efficientnet_b2b-mask_rcnn-480x480", metavar="NAME",
                        help="name or path, see `instseg ls` (default: %(default)s)")
    result.add_argument("--output", type=Path, default=Path("quickstart"), metavar="DIR",
                        help="folder for everything this writes (default: %(default)s)")
    add_input_size(result)
    result.add_argument("--epochs", type=int, metavar="N", help="(default: the template's; 6 for the sample data set)")
    result.add_argument("--batch-size", type=int, metavar="N", help="images per step (default: the template's)")
    result.add_argument("--do-not-load-snapshot", dest="load_snapshot", action="store_false",
                        help="start from random weights without trying to download published ones")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.quickstart`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.quickstart(options.pop("output"), **options)
