"""`instseg coco split|combine|stats|crop`: what people do to COCO files before training."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import comma_list

EXAMPLE = """examples:
  instseg coco split --input all.json --output train.json,val.json,test.json --ratios 8:1:1 --stratify
  instseg coco combine --inputs monday.json,tuesday.json --output all.json
  instseg coco stats --input all.json
  instseg coco crop --input all.json --output crops
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(prog="instseg coco", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Split, combine, count and crop COCO files. Each file is checked as a whole "
                                                 "first. `instseg coco-split` and so on are the same commands.")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    verbs = result.add_subparsers(required=True, metavar="split|combine|stats|crop",
                                  help="what to do; `instseg coco split --help` lists its flags")
    add_split(verbs.add_parser("split", help="divide the images into parts"))
    add_combine(verbs.add_parser("combine", help="join files; classes of the same name become one"))
    add_stats(verbs.add_parser("stats", help="count images and objects, per class and size"))
    add_crop(verbs.add_parser("crop", help="cut every object out of its image"))
    return result


def add_input(parser):
    """Add `--input`."""
    parser.add_argument("--input", required=True, type=Path, metavar="FILE", help="COCO file")


def add_split(parser):
    """Flags of `split`."""
    add_input(parser)
    parser.add_argument("--output", required=True, type=comma_list, metavar="FILE[,FILE…]",
                        help="a file per part; or one name, which gets .0, .1, … appended")
    parser.add_argument("--ratios", type=ratios, default="8:1:1", metavar="A:B[:C…]", help="sizes of the parts (default: 8:1:1)")
    parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True,
                        help="draw the images at random (the default), or take them in the file's order")
    parser.add_argument("--stratify", action="store_true", help="give each part its share of every class")
    parser.add_argument("--random_seed", "--seed", type=int, default=0, metavar="N", help="of the drawing (default: 0)")
    parser.set_defaults(call=lambda api, args: api.split_coco(args.input, args.output, args.ratios, shuffle=args.shuffle,
                                                              stratify=args.stratify, seed=args.random_seed))


def add_combine(parser):
    """Flags of `combine`."""
    parser.add_argument("--inputs", required=True, type=comma_list, metavar="FILE,FILE[,…]", help="COCO files")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the file to write")
    parser.set_defaults(call=lambda api, args: api.combine_coco(args.inputs, args.output))


def add_stats(parser):
    """Flags of `stats`."""
    add_input(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers as JSON, too")
    parser.set_defaults(call=lambda api, args: api.coco_stats(args.input, args.output))


def add_crop(parser):
    """Flags of `crop`."""
    add_input(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the crops")
    parser.add_argument("--images", type=Path, metavar="DIR",
                        help="image folder (default: found beside the file, above it, or in images/ there)")
    parser.set_defaults(call=lambda api, args: api.crop_coco(args.input, args.output, args.images))


def ratios(text):
    """`8:1:1` → [8.0, 1.0, 1.0]."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) < 2 or not all(0 < part < float("inf") for part in parts):
        raise argparse.ArgumentTypeError(f"got '{text}', expected two or more numbers > 0 like 8:1:1")
    return parts


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to the chosen function of `api`."""
    from instance_segmentation import api
    args.call(api, args)
