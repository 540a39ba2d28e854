"""`instseg plan WORK_DIR`: weigh accuracy against time on the user's images, and write the chosen settings into an IR."""

from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_data, count, share, verb_parser

EXAMPLE = """examples:
  instseg plan WORK_DIR --load-weights export/model.xml --val-ann-files data/val.json --val-data-roots data/val
  instseg plan WORK_DIR --load-weights export/model.xml --int8 int8/model.xml --proposals 300 100 --max-drop 0.01 \\
      --val-ann-files data/val.json --val-data-roots data/val --apply planned
"""


def parser():
    """Build the argument parser."""
    result = verb_parser("plan", None, "Try numbers of region proposals, score thresholds and precisions on validation images, "
                         "then streams and threads; print segm AP against milliseconds, mark what nothing beats, and recommend "
                         "the fastest within --max-drop of the best AP. The graph itself is changed: no training, no checkpoint.",
                         EXAMPLE)
    result.add_argument("--load-weights", type=Path, required=True, metavar="FILE", help=".xml of an export")
    result.add_argument("--int8", type=Path, metavar="FILE", help=".xml of its INT8 counterpart, to be compared too")
    add_data(result, "val")
    result.add_argument("--images", type=count, default=50, metavar="N",
                        help="how many of these images to use, evenly spaced (default 50)")
    result.add_argument("--proposals", type=count, nargs="+", metavar="N",
                        help="numbers of region proposals, or of RTMDet-Ins of detections, to try besides the export's own "
                             "(default: 500 300 200 100 50)")
    result.add_argument("--score-thresholds", type=share, nargs="+", metavar="SCORE",
                        help="scores below which the graph drops detections, besides the export's own (default: 0.1 0.2 0.3)")
    result.add_argument("--max-drop", type=share, default=0.005, metavar="AP",
                        help="segm AP, from 0 to 1, that the recommended point may lose beside the best (default 0.005)")
    result.add_argument("--runs", type=count, default=15, metavar="N", help="how often each point is timed (default 15)")
    result.add_argument("--save-plan-to", type=Path, metavar="DIR",
                        help="folder for plan.json and plan.png (default: WORK_DIR/plan)")
    result.add_argument("--apply", type=Path, metavar="DIR",
                        help="write the recommended point there as model.xml and model.bin, which say how they run best")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.plan`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.plan(options.pop("work_dir"), **options)
