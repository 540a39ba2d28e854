"""`tools/convert_to_onnx.py`, `instseg convert_to_onnx`: a template's or a work dir's network as ONNX."""

import argparse
import sys
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import InputSize, add_input_size, add_weights
from instance_segmentation.cli.segmentoly import template_name
from instance_segmentation.errors import UsageError

EXAMPLE = """examples:
  instseg convert_to_onnx my_work model.onnx --load-weights my_work/outputs/best.pth --input-size 480 640
  instseg convert_to_onnx efficientnet_b2b-mask_rcnn-480x480 model.onnx
Segmentoly's flags are taken too:
  convert_to_onnx.py --model mask_rcnn_r50_fpn-800x1344 --ckpt weights.pth --input_size 800 1344 --output_file model.onnx
"""


def parser(prog="instseg convert_to_onnx"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Write a network as ONNX of standard operators and check it against PyTorch.")
    result.add_argument("source", nargs="?", metavar="SOURCE", help="a work dir, or a template's name or path")
    result.add_argument("output", nargs="?", type=Path, metavar="FILE", help="the .onnx file to write")
    add_weights(result, ".pth checkpoint (default: the template's snapshot)", required=False)
    add_input_size(result, "network input: one number, or height and width; multiples of 32 (default: the checkpoint's)")
    result.add_argument("--show_flops", action="store_true", help="print floating-point operations per image")
    add_segmentoly(result.add_argument_group("Segmentoly's names for the same"))
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def add_segmentoly(group):
    """Add the flags of Segmentoly's script."""
    group.add_argument("--model", metavar="NAME", help="SOURCE: a template, a work dir, or Segmentoly's class")
    group.add_argument("--ckpt", type=Path, dest="load_weights", default=argparse.SUPPRESS, metavar="FILE", help="--load-weights")
    group.add_argument("--input_size", type=int, nargs="+", action=InputSize, default=argparse.SUPPRESS, metavar="PIXELS",
                       help="--input-size")
    group.add_argument("--output_file", type=Path, metavar="FILE", help="FILE")
    group.add_argument("--dataset", metavar="NAME", help="not needed: the checkpoint knows its classes")
    group.add_argument("-nc", "--number_of_classes", type=int, metavar="N", help="not needed either")


def main(argv=None, prog="instseg convert_to_onnx"):
    """Run the verb; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    names = {"--load-weights": "--ckpt"} if any(word.partition("=")[0] == "--ckpt" for word in argv) else {}
    return run(parser(prog), argv, call, names)


def call(args):
    """Hand the arguments to `api.convert_to_onnx`."""
    from instance_segmentation import api
    from instance_segmentation.report import say
    source = args.source or (args.model and template_name(args.model))
    output = args.output or args.output_file
    if not source or not output:
        raise UsageError("expected SOURCE and FILE, or --model and --output_file")
    for flag, value in (("--dataset", args.dataset), ("--number_of_classes", args.number_of_classes)):
        if value is not None:
            say("Note", f"{flag} {value} is not needed: the checkpoint knows its classes")
    result = api.convert_to_onnx(source, output, load_weights=args.load_weights, input_size=args.input_size,
                                 trust_checkpoint=args.trust_checkpoint)
    if args.show_flops:
        height, width = result.info.input_size
        say("Operations", f"{result.info.complexity_gflops:.2f} GFLOPs at {height}×{width}, "
            f"{result.info.size_mp:.2f} Mp")
