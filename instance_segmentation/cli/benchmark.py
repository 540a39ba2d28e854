"""`instseg benchmark`: time checkpoints and exported models side by side."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg benchmark outputs/best.pth
  instseg benchmark outputs/best.pth export/model.xml int8/model.xml --image photo.jpg --profile
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg benchmark", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Time models of one network on one image: latency, throughput and size in one table. The first is what "
                    "the others are compared with; a checkpoint alone is compared with its IR.")
    result.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=".pth, .xml, .bin or .onnx")
    result.add_argument("--image", type=Path, metavar="FILE", help="a photo; noise without one. Take a typical one: the more "
                        "objects are found, the longer the masks take")
    result.add_argument("--runs", type=int, default=15, metavar="N", help="how often each runs (default 15)")
    result.add_argument("--profile", action="store_true", help="also show where the time goes, by layer type")
    result.add_argument("--trust-checkpoint", action="store_true", help="unpickle arbitrary objects of checkpoints")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.benchmark`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.benchmark(options.pop("models"), **options)
