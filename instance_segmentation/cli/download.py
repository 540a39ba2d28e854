"""`instseg download`: fetch models of the Open Model Zoo that the demo runs."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg download instance-segmentation-security-1039 -o models
  instseg download --list tools/models.lst --precision FP32 -o models
  instseg demo -m models/instance-segmentation-security-1039/FP16/instance-segmentation-security-1039.xml -i photo.jpg
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg download", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Fetch models of the Open Model Zoo that `instseg demo` runs; without a name, list them. Every file is "
                    "checked by size and digest; an interrupted download is resumed.")
    result.add_argument("names", nargs="*", metavar="NAME", help="models")
    result.add_argument("--list", type=Path, metavar="FILE", help="a file with one name per line, such as tools/models.lst")
    result.add_argument("-o", "--output", type=Path, default=Path("models"), metavar="DIR", help="where to (default: models)")
    result.add_argument("--precision", choices=("FP32", "FP16"), default="FP16", help="of the weights (default FP16)")
    result.add_argument("--offline", action="store_true", help="take the files from the cache only")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Download, or list what there is."""
    from instance_segmentation import api
    from instance_segmentation.cli.new import download_progress
    from instance_segmentation.report import say
    models = api.choose_models(args.names + (api.read_list(args.list) if args.list else []))
    if not models:
        for item in api.zoo_models().values():  # two lines each: names must be copied whole
            say("", item.name)
            say("", f"    {item.good_for}; licence {item.licence}")
        say("Next", "instseg download NAME -o models")
    for model in models:
        with download_progress(None) as progress:
            paths = api.download(model, args.output, precision=args.precision, offline=args.offline, progress=progress)
        say(model.name, f"{paths[0].parent}, licence {model.licence}")
