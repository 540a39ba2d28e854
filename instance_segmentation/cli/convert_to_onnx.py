"""`tools/convert_to_onnx.py`, `instseg convert_to_onnx`: a template's or a work dir's network as ONNX."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_input_size, add_weights

EXAMPLE = """examples:
  instseg convert_to_onnx my_work model.onnx --load-weights my_work/outputs/best.pth --input-size 480 640
  instseg convert_to_onnx efficientnet_b2b-mask_rcnn-480x480 model.onnx
"""


def parser(prog="instseg convert_to_onnx"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Write a network as ONNX of standard operators and check it against PyTorch.")
    result.add_argument("source", metavar="SOURCE", help="a work dir, or a template's name or path")
    result.add_argument("output", type=Path, metavar="FILE", help="the .onnx file to write")
    add_weights(result, ".pth checkpoint (default: the template's snapshot)", required=False)
    add_input_size(result, "network input: one number, or height and width; multiples of 32 (default: the checkpoint's)")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None, prog="instseg convert_to_onnx"):
    """Run the verb; returns the exit code."""
    return run(parser(prog), argv, call)


def call(args):
    """Hand the arguments to `api.convert_to_onnx`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.convert_to_onnx(options.pop("source"), options.pop("output"), **options)
