"""`eval.py` in a work dir, `instseg eval WORK_DIR`: score a checkpoint or an exported model."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_classes, add_data, add_resize, add_tiles, add_weights, count, verb_parser

EXAMPLE = """examples:
  python eval.py --load-weights outputs/best.pth --test-ann-files data/val.json --test-data-roots data/val \\
      --save-metrics-to metrics.yaml
  python eval.py --load-weights export/model.bin --test-ann-files data/val.json --test-data-roots data/val \\
      --save-metrics-to metrics.yaml --save-output-to pictures
"""


def parser(work_dir=None):
    """Build the argument parser."""
    result = verb_parser("eval", work_dir, "Compute COCO box and mask AP of a checkpoint (.pth), an OpenVINO model "
                         "(.xml or .bin) or an ONNX model (.onnx) with the same code.", EXAMPLE)
    add_data(result, "test")
    add_weights(result, ".pth, .xml, .bin or .onnx; classes and input size come from it", required=True)
    result.add_argument("--save-metrics-to", type=Path, required=True, metavar="FILE",
                        help="metrics.yaml (merged into an existing file); metrics.json beside it has every number")
    result.add_argument("--save-output-to", type=Path, metavar="DIR",
                        help="draw the predictions: those from an exported model's own score thresholds, others from 0.3")
    result.add_argument("--save-results-to", type=Path, metavar="FILE", help="predictions as COCO results JSON")
    result.add_argument("--report", type=Path, metavar="FILE",
                        help="one .html file with tables, curves, confusion matrix, best and worst images; needs no network")
    add_tiles(result, "small objects: detect in tiles of this side and merge what they show")
    result.add_argument("--max-dets", type=count, default=100, metavar="N",
                        help="detections per image and class that count, 10 or more (default: 100, as COCO's AP)")
    add_classes(result, "must equal the weights' classes; leave it out")
    add_resize(result)
    result.add_argument("--num-workers", type=int, metavar="N", help="data loading processes (default: the template's)")
    result.add_argument("--config", type=Path, help=argparse.SUPPRESS)  # another model.py than the work dir's
    return result


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(work_dir), argv, call)


def call(args):
    """Hand the arguments to `api.evaluate`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.evaluate(options.pop("work_dir"), **options)
