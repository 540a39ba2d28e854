"""`instseg predict`: run a model on a folder or a COCO file's images, on one machine or several."""

import argparse
import re
from pathlib import Path

from instance_segmentation.cli import ending_on_signals, run
from instance_segmentation.cli.demo import add_inference, add_model_options, add_network

EXAMPLE = """examples:
  instseg predict -m export/model.xml -i photos -o found
  instseg predict -m export/model.xml -i photos -o found --draw --crops mask
  instseg predict -m export/model.xml -i photos -o share2 --shard 2/3        on the second of three machines
  instseg predict --merge share1 share2 share3 -o found
Writes predictions.json (COCO, annotations with scores) and counts.csv (one row per image) into the folder of -o. The same command
goes on where an interrupted one stopped.
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg predict", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a model on all images of a folder or a COCO file, and write what it finds as COCO JSON and as a table "
                    "of counts; on request also pictures with it drawn in, and each object cut out.")
    group = result.add_argument_group("Options")
    add_network(group, required=False)
    group.add_argument("-i", "--input", type=Path, dest="source", metavar="PATH",
                       help="a folder of images, or a COCO file, whose annotations are not read")
    group.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the COCO file's images (default: found near it)")
    group.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    group.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N",
                       help="take the I-th of N shares of the images; --merge makes one result of all shares")
    group.add_argument("--merge", type=Path, nargs="+", metavar="DIR",
                       help="predict nothing, but merge what the shares wrote to these folders")
    group.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    group = result.add_argument_group("Output options")
    group.add_argument("--masks", choices=("rle", "polygon"), default="rle", help="how masks are written (default rle)")
    group.add_argument("--draw", action="store_true", help="also write pictures/ with what was found drawn in")
    group.add_argument("--crops", choices=("mask", "box"),
                       help="also write crops/ with each object cut out, on black or with its whole box")
    group = result.add_argument_group("Model options")
    add_model_options(group)
    group.add_argument("--speed", choices=("fast", "rapid"),
                       help="give accuracy for time: a checkpoint gets a smaller input, an export of this tool fewer proposals "
                            "and bfloat16")
    add_inference(result.add_argument_group("Inference options"))
    return result


def _shard(text):
    """`2/3` → (2, 3)."""
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"got '{text}', expected I/N with I from 1 to N, for example 2/3")
    return int(match[1]), int(match[2])


def main(argv=None):
    """Run the verb; returns the exit code."""
    result = parser()
    with ending_on_signals():
        return run(result, argv, lambda args: call(args, result.error))


def call(args, refuse):
    """Hand the arguments to `api.predict` or `api.merge_predictions`; `refuse` ends the program with a message."""
    from instance_segmentation import api
    if not args.merge and not (args.model and args.source):
        refuse("-m/--model and -i/--input are required, unless --merge is given")
    options = {key: value for key, value in vars(args).items() if key not in ("verbose", "merge")}
    if args.merge:
        api.merge_predictions(args.merge, args.output)
    else:
        api.predict(options.pop("model"), options.pop("source"), options.pop("output"), **options)
