"""`instseg check-data`: examine a data set, explain every finding, and write a repaired copy."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_classes, add_data

EXAMPLE = """examples:
  instseg check-data my_data
  instseg check-data my_data --template efficientnet_b2b-mask_rcnn-480x480 --save-json findings.json
  instseg check-data --train-ann-files train.json --train-data-roots photos --val-ann-files val.json --val-data-roots photos \\
    --fix repaired

Ends with 0 when training takes the data (or the repaired copy), with 1 when it refuses it.
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg check-data", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Examine a COCO data set before training: broken and missing images, wrong annotations, EXIF rotations, "
                    "images of val that train has too, classes with hardly an object, objects too small for the network. Every "
                    "finding comes with its remedy.")
    result.add_argument("data", nargs="?", type=Path, metavar="FOLDER",
                        help="folder with train.json and val.json, or another usual layout; or name the files:")
    for split in ("train", "val"):
        add_data(result, split, required=False)
    add_classes(result, "classes to examine, in label order (default: all of the first file)")
    result.add_argument("--template", metavar="NAME", help="the template you mean to train (default: suggest one)")
    result.add_argument("--no-similar", dest="similar", action="store_false",
                        help="do not look for val images that merely look like one of train, which decodes every image")
    result.add_argument("--fix", type=Path, metavar="DIR",
                        help="write a repaired copy, DIR/train.json and DIR/val.json: without what is wrong, objects turned with "
                             "their EXIF-rotated images, images of val taken out of train; your files stay as they are")
    result.add_argument("--save-json", type=Path, metavar="FILE", help="write the findings, with all names, for programs")
    result.add_argument("--strict", action="store_true", help="end with 1 for warnings, too")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.check_data`."""
    from instance_segmentation import api
    api.check_data(**{key: value for key, value in vars(args).items() if key != "verbose"})
