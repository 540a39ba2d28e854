"""`instseg import-data`: make COCO files of the annotations of other tools."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg import-data my_labelme_folder
  instseg import-data roboflow_export/data.yaml
  instseg import-data VOCdevkit --save-to my_coco
  instseg import-data cvat_export/annotations.xml --boxes-as-masks

Frames of one video stay in one split. To keep other images together that belong together, name the part of the
file name that they share, the folder, or a table of two columns (name, group):
  instseg import-data my_labelme_folder --group-by '^(plant[0-9]+)_'
  instseg import-data my_labelme_folder --group-by folder
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg import-data", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write train.json and val.json in COCO's form from VOC masks, YOLO segmentation, labelme, CVAT or VIA. The "
                    "images stay where they are. Without a split for validation, a fifth of the images is set aside for it.")
    result.add_argument("source", type=Path, metavar="SOURCE", help="folder, YOLO's data.yaml, CVAT's .xml or VIA's .json")
    result.add_argument("--format", choices=("yolo", "voc", "cvat", "labelme", "via"), help="(default: recognised)")
    result.add_argument("--save-to", type=Path, metavar="DIR", help="folder for the COCO files (default: SOURCE's)")
    result.add_argument("--boxes-as-masks", action="store_true",
                        help="take boxes without a mask for rectangular objects (default: leave them out)")
    result.add_argument("--skip-bad", action="store_true",
                        help="go on without images and objects that cannot be read (default: list them all, and write nothing)")
    result.add_argument("--group-by", metavar="RULE",
                        help="images that must not be divided between train and val: folder, a .csv file, or a regular "
                             "expression")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.import_data`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.import_data(options.pop("source"), **options)
