"""`compress.py` in a work dir, `instseg compress WORK_DIR` or `instseg quantize WORK_DIR`: an INT8 model for OpenVINO."""

from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_data, add_weights, count, share, verb_parser
from instance_segmentation.errors import ExportError

ABSENT = ("sparsity", "pruning", "binarization")
NEEDED = ("load_weights", "save_model_to", "train_ann_files", "train_data_roots", "val_ann_files", "val_data_roots")
EXAMPLE = """examples:
  python compress.py --load-weights outputs/best.pth --save-model-to int8 \\
      --train-ann-files data/train.json --train-data-roots data/train \\
      --val-ann-files data/val.json --val-data-roots data/val
"""


def parser(work_dir=None):
    """Build the argument parser."""
    result = verb_parser("compress", work_dir, "Quantise to INT8 by NNCF, without training: ranges come from training images, "
                         "the accuracy is held on validation images, and a table shows FP32, FP16 and INT8.", EXAMPLE)
    add_weights(result, ".pth checkpoint, or the .xml of an FP32 export", required=False)
    result.add_argument("--save-model-to", type=Path, metavar="DIR",
                        help="folder for the INT8 model.xml, model.bin, labels.txt and labels_nobg.txt")
    result.add_argument("--max-drop", type=share, metavar="AP",
                        help="largest loss of segm AP, from 0 to 1; above it the worst parts of the network go back to float32 "
                             "(default: the template's, 0.01)")
    result.add_argument("--calibration-images", type=count, metavar="N",
                        help="how many training images the ranges are measured on (default: the template's, 300)")
    add_data(result, "train", required=False)
    add_data(result, "val", required=False)
    result.add_argument("--nncf-quantization", action="store_true", help="accepted for old scripts; it is what this command does")
    for method in ABSENT:
        result.add_argument(f"--nncf-{method}", action="store_true", help="not offered")
    return result


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(work_dir), argv, call)


def call(args):
    """Refuse the methods that are not there, then hand the arguments to `api.compress`."""
    options = {key: value for key, value in vars(args).items() if key not in ("verbose", "nncf_quantization")}
    absent = [f"--nncf-{method}" for method in ABSENT if options.pop(f"nncf_{method}")]
    if absent:
        raise ExportError(f"{', '.join(absent)}: not offered; there is INT8 quantisation only (--nncf-quantization)")
    missing = [f"--{name.replace('_', '-')}" for name in NEEDED if not options[name]]
    if missing:
        raise ExportError(f"missing: {', '.join(missing)}. Try --help, which ends in an example")
    from instance_segmentation import api
    api.compress(options.pop("work_dir"), **options)
