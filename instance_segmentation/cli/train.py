"""`train.py` in a work dir, `instseg train WORK_DIR`: fine-tune."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import (
    add_cfg_options,
    add_classes,
    add_data,
    add_input_size,
    add_tiles,
    add_weights,
    verb_parser,
)

AUGMENTATIONS = ("none; light: sizes and mirroring; colour: light and other colours; copy-paste: light and objects of other "
                 "images; mosaic: four images in one; heavy: all of these")
EXAMPLE = """example:
  python train.py --load-weights snapshot.pth \\
      --train-ann-files data/train.json --train-data-roots data/train \\
      --val-ann-files data/val.json --val-data-roots data/val --classes person,car
"""


def parser(work_dir=None):
    """Build the argument parser; defaults that a template decides are None here."""
    result = verb_parser("train", work_dir, "Fine-tune on your classes. Writes latest.pth, best.pth (by segm AP), curves.png, "
                         "scalars.json and TensorBoard events.", EXAMPLE)
    add_run(result)
    result.add_argument("--resume-from", type=Path, metavar="FILE",
                        help="continue this checkpoint's training exactly where it was saved, or longer with more --epochs; "
                             "`auto` takes latest.pth of the "
                             "output folder, and starts from the beginning when there is none yet")
    result.add_argument("--save-checkpoints-to", type=Path, metavar="DIR", help="output folder (default: WORK_DIR/outputs)")
    result.add_argument("--tensorboard-dir", type=Path, metavar="DIR", help="folder of TensorBoard events")
    result.add_argument("--report", type=Path, metavar="FILE",
                        help="evaluate the best checkpoint at the end, and write the .html file of eval.py --report")
    result.add_argument("--epochs", type=positive, metavar="N", help="(default: the template's)")
    result.add_argument("--base-learning-rate", type=float, metavar="RATE",
                        help="taken as it is (default: the template's, scaled to the images per update)")
    result.add_argument("--batch-size", type=batch_size, metavar="N",
                        help="images per step, of each process; `auto`: the largest that fits into memory, up to four times the "
                             "template's (default: the template's)")
    result.add_argument("--seed", type=int, metavar="N", help="repeat a run exactly on the same machine")
    recipe = add_recipe(result)
    recipe.add_argument("--augment", metavar="NAME", help=f"{AUGMENTATIONS} (default: the template's, light)")
    recipe.add_argument("--early-stop", type=positive, metavar="PATIENCE",
                        help="end after this many epochs without a better segm AP")
    add_safety(result)
    result.add_argument("--config", type=Path, help=argparse.SUPPRESS)  # another model.py than the work dir's
    return result


def add_run(parser):
    """Add data, start and machine, which a search takes too."""
    add_data(parser, "train")
    add_data(parser, "val")
    add_classes(parser, "classes to learn, in label order (default: all categories of the first training file)")
    add_weights(parser, "checkpoint to start from; heads of another class count start fresh", required=False)
    parser.add_argument("--gpu-num", type=int, metavar="N",
                        help="GPUs, with one process for each; 0 is CPU (default: the template's, or CPU without a GPU)")
    parser.add_argument("--nproc-per-node", type=positive, metavar="N", help="with --gpu-num 0: processes that share the CPU")
    add_input_size(parser)
    add_tiles(parser, "small objects: train on tiles of this side (validation merges them); the checkpoint remembers it")
    parser.add_argument("--keep-empty", action="store_true", help="train on images without objects too, as negatives")
    parser.add_argument("--num-workers", type=int, metavar="N", help="data loading processes (default: the template's)")
    add_cfg_options(parser)


def add_recipe(parser):
    """Add what changes how the network learns, and return the group; what a search decides itself is not in it."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--balance-classes", action="store_true", help="show images of rare classes more often")
    group.add_argument("--no-flip", action="store_true", help="never mirror images, for classes like left and right hand")
    group.add_argument("--normalisation", metavar="NAME",
                       help="pixels that the backbone was trained with. imagenet: RGB, ImageNet's mean and deviation; caffe: "
                            "BGR, its mean alone; inception: RGB from -1 to 1; unit: RGB from 0 to 1 (default: the checkpoint's, "
                            "else the template's)")
    group.add_argument("--norm-eval", action=argparse.BooleanOptionalAction,
                       help="normalise with the backbone's stored statistics, not each batch's (default: the template's)")
    group.add_argument("--accumulate", type=positive, metavar="N", help="add up the gradients of N batches for one update")
    group.add_argument("--clip-grad", type=float, metavar="NORM", help="shorten all gradients together to this norm")
    group.add_argument("--frozen-stages", type=int, metavar="N",
                       help="do not train the first N stages of the backbone (default: the template's)")
    group.add_argument("--ema", action="store_true",
                       help="validate and keep the running average of the weights, over about a tenth of the training")
    group.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"),
                       help="numbers of the layers in training; auto: bfloat16 where the processor or GPU multiplies in it, "
                            "float16 on older GPUs (default: the template's, auto)")
    return group


def add_safety(parser):
    """Add what keeps a long training safe."""
    group = parser.add_argument_group("safety")
    group.add_argument("--save-every-minutes", type=float, metavar="M",
                       help="save latest.pth this often within an epoch too, 0: at every step (default: 10)")
    group.add_argument("--max-rollbacks", type=int, metavar="N",
                       help="when a loss is NaN or explodes, name the images, go back to the last saved state and halve the "
                            "learning rate, at most N times (default: 3)")


def positive(text):
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def batch_size(text):
    """A whole number of at least 1, or `auto`."""
    return text if text == "auto" else positive(text)


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(work_dir), argv, call)


def call(args):
    """Hand the arguments to `api.train`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.train(options.pop("work_dir"), **options)
