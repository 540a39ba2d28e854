"""`instseg check-ir`: explain a model's contract, say who can run it, and test it on this machine."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg check-ir export/model.xml
  instseg check-ir export/model.xml --selftest
  instseg check-ir downloaded/yolact.xml
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg check-ir", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Explain what a model of any tool takes and gives, and which programs can run it. Ends with 0 when it keeps "
                    "the contract of the Open Model Zoo's instance segmentation demo, else with 1.")
    result.add_argument("model", type=Path, metavar="MODEL", help=".xml, .bin or .onnx")
    result.add_argument("--selftest", action="store_true",
                        help="also look for the objects in the images that export.py wrote beside the model (golden/)")
    result.add_argument("--device", default="CPU", help="OpenVINO device of the self-test (default CPU)")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.check_ir`."""
    from instance_segmentation import api
    api.check_ir(args.model, selftest=args.selftest, device=args.device)
