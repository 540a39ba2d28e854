"""`export.py` in a work dir, `instseg export WORK_DIR`: turn a checkpoint into an OpenVINO model."""

import argparse
import re
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_classes, add_data, add_input_size, add_weights, count, verb_parser
from instance_segmentation.errors import ExportError

EXAMPLE = """examples:
  python export.py --load-weights outputs/best.pth --save-model-to export \\
      --test-ann-files data/val.json --test-data-roots data/val
  python export.py --load-weights outputs/best.pth --save-model-to export_fp16 --fp16
"""


def parser(work_dir=None):
    """Build the argument parser."""
    result = verb_parser("export", work_dir, "Write model.xml and model.bin for OpenVINO, after checking on images that they "
                         "find what the checkpoint finds.", EXAMPLE)
    add_weights(result, ".pth checkpoint; classes and input size come from it", required=True)
    result.add_argument("--save-model-to", type=Path, required=True, metavar="DIR",
                        help="folder for model.xml, model.bin, labels.txt (with a background line) and labels_nobg.txt")
    result.add_argument("--fp16", action="store_true", help="store 16-bit weights: half the size, slightly other numbers")
    result.add_argument("--openvino-input-format", choices=("BGR", "RGB"), default="BGR",
                        help="channel order of the images that will be sent to the model (default: BGR, as OpenCV reads)")
    result.add_argument("--openvino", action="store_true", help="accepted for old scripts; OpenVINO is always written")
    result.add_argument("--onnx", action="store_true", help="also write model.onnx: standard operators, for ONNX Runtime")
    result.add_argument("--segmentoly", action="store_true",
                        help="give the IR the two inputs (im_data, im_info) and the outputs (boxes, scores, classes, raw_masks) "
                        "of Segmentoly's models, for programs that were made for these")
    result.add_argument("--ovms", type=_servable, nargs="?", const="instance_segmentation", metavar="NAME",
                        help="also write ovms/NAME/1/, a repository for OpenVINO Model Server (default name: "
                             "instance_segmentation)")
    add_input_size(result, "network input of the exported model: one number, or height and width; multiples of 32 (default: "
                   "the checkpoint's)")
    add_data(result, "test", required=False)
    result.add_argument("--parity-images", type=count, default=8, metavar="N",
                        help="how many of these images checkpoint and exported model are compared on (default: 8)")
    add_classes(result, "must equal the weights' classes; leave it out")
    result.add_argument("--coarse-masks", action="store_true", help="PointRend only: leave out the point head; the model is "
                        "faster, and its masks are coarse")
    result.add_argument("--openvino-mo-args", help=argparse.SUPPRESS)
    result.add_argument("--config", help=argparse.SUPPRESS)
    return result


def _servable(text):
    """A model name that every client of the server accepts: the Open Model Zoo's take only letters, digits and `_`."""
    if not re.fullmatch(r"\w+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"got '{text}', expected letters, digits and _ only, for example "
                                         f"'{re.sub(r'[^0-9A-Za-z]+', '_', text)}'")
    return text


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(work_dir), argv, call)


def call(args):
    """Hand the arguments to `api.export`."""
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    if options.pop("openvino_mo_args") is not None:
        raise ExportError("--openvino-mo-args: there is no Model Optimizer any more; the graph is built directly. Leave it out")
    if options.pop("config") is not None:
        raise ExportError("--config: the network comes from the checkpoint and the work dir's model.py. Leave it out")
    from instance_segmentation import api
    api.export(options.pop("work_dir"), **options)
