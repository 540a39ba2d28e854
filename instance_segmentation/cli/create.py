"""`instseg create`: write a script that trains a network and finds objects with it."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg create --script segm.py --task segm
  instseg create --script segm.py --task segm --vanilla
  instseg create --script segm.py --model efficientnet_b2b-mask_rcnn-480x480

then:
  python segm.py train --label label.txt --train train.json --valid valid.json --test test.json --output_weights out/segm.pth
  python segm.py inference --label label.txt --data images --model_weights out/segm.pth --output out/inference_results
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(prog="instseg create", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Write a short Python script that trains a network on COCO annotations and "
                                                 "finds objects with it, to read and to change.")
    result.add_argument("--script", type=Path, required=True, metavar="FILE", help="the .py file to write")
    result.add_argument("--task", choices=["segm"], default="segm", help="instance segmentation, the only task there is")
    result.add_argument("--vanilla", action="store_true", help="use MMDetection's own packages only, none of this tool's")
    result.add_argument("--model", metavar="NAME",
                        help="one of mmdet's configurations, or a template (default: mask-rcnn_r101_fpn_1x_coco)")
    result.add_argument("--force", action="store_true", help="replace a script that is there")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.create_script`."""
    from instance_segmentation import api
    options = dict(model=args.model) if args.model else {}
    api.create_script(args.script, vanilla=args.vanilla, force=args.force, **options)
