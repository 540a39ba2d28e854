"""`tools/train.py`: Segmentoly's command line of training, whose defaults are Detectron's end-to-end Mask R-CNN baseline."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import count
from instance_segmentation.cli.segmentoly import template_name
from instance_segmentation.errors import TrainingError

NOT_KEPT = ("help", "verbose", "load_cfg", "save_cfg")
# Ours → this program's
FLAGS = {"--load-weights": "--load_ckpt", "--resume-from": "--resume --load_ckpt", "--train-ann-files": "--dataset",
         "--val-ann-files": "--dataset", "--epochs": "--max_iter", "--batch-size": "--bs"}
EXAMPLE = """examples:
  train.py                                         Detectron's baseline on data/coco, 90000 iterations
  train.py --dataset train.json val.json --load_ckpt coco.pth --max_iter 500 --drop_lr 400 --lr 0.001
  train.py --resume --load_ckpt outputs/…/outputs/latest.pth
"""


def parser(prog="train.py"):
    """Build the argument parser; what `api.train_iterations` has defaults for is left out of its result."""
    result = argparse.ArgumentParser(
        prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
        description="Train Mask R-CNN as Segmentoly and Detectron do: counted in iterations. Each run gets a folder of its own, "
                    "a work dir with outputs/{latest,best,iter_N}.pth, logs and TensorBoard events.")
    result.add_argument("--model", metavar="NAME",
                        help="template, by name or path, or Segmentoly's class (default: the baseline)")
    result.add_argument("--dataset", nargs="+", metavar="NAME|FILE", help="coco2017, or the COCO files or names "
                        "(coco_2017_train) of training and validation data (default: coco2017, in data/coco)")
    result.add_argument("--load_cfg", type=Path, metavar="FILE", help="YAML with flags' values; those given here go first")
    result.add_argument("--save_cfg", type=Path, metavar="FILE", help="write the flags given here and in --load_cfg into a YAML")
    result.add_argument("--output_dir", type=Path, metavar="DIR", help="folder of the runs' folders (default: outputs)")
    result.add_argument("--nw", dest="num_workers", type=int, metavar="N", help="data loading processes (default: 4)")
    result.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    _add_start(result.add_argument_group("start"))
    _add_schedule(result.add_argument_group("schedule, in iterations"))
    _add_optimizer(result.add_argument_group("optimizer"))
    pixels = result.add_argument_group("pixels")
    pixels.add_argument("--max_image_size", type=count, nargs=2, metavar=("SHORT", "LONG"),
                        help="sides of the input, rounded up to multiples of 32 (default: the template's)")
    pixels.add_argument("--mean_pixel", type=float, nargs=3, metavar=("B", "G", "R"),
                        help="to subtract from every pixel (default: the checkpoint's or the template's; 102.9801 115.9465 "
                             "122.7717 with --load_backbone)")
    return result


def _add_start(group):
    group.add_argument("--load_ckpt", type=Path, metavar="FILE", help="weights to start from")
    group.add_argument("--load_backbone", type=Path, metavar="FILE", help="weights of the backbone alone")
    group.add_argument("--resume", action="store_true", help="continue the run of --load_ckpt exactly where it was saved")


def _add_schedule(group):
    group.add_argument("--max_iter", type=count, metavar="N", help="length (default: 90000)")
    group.add_argument("--test_interval", type=count, metavar="N", help="validate every N (default: 10000)")
    group.add_argument("--checkpoint_interval", type=count, metavar="N", help="keep an iter_….pth every N (default: 10000)")
    group.add_argument("--display_interval", type=count, metavar="N", help="log every N (default: 20)")
    group.add_argument("--drop_lr", type=count, nargs="+", metavar="N",
                       help="multiply the learning rate by --gamma here (default: 60000 80000)")
    group.add_argument("--gamma", type=float, metavar="FACTOR", help="(default: 0.1)")
    group.add_argument("--warmup_iters", type=int, metavar="N", help="length of the warm-up (default: 1000)")
    group.add_argument("--warmup_factor", type=float, metavar="SHARE", help="of the learning rate to begin with (default: 0.33)")
    group.add_argument("--warmup_method", choices=("linear", "constant"), help="from there (default: linear)")


def _add_optimizer(group):
    group.add_argument("--bs", dest="batch_size", type=count, metavar="N",
                       help="images per iteration; several batches are added up for it (default: 16)")
    group.add_argument("--bs_per_gpu", dest="batch_size_per_gpu", type=count, metavar="N",
                       help="images per batch of each GPU, or of the CPU (default: 2)")
    group.add_argument("--lr", type=float, metavar="RATE", help="of SGD (default: 0.02)")
    group.add_argument("--momentum", type=float, help="(default: 0.9)")
    group.add_argument("--weight_decay", type=float, help="(default: 0.0001)")


def main(argv=None, prog="train.py"):
    """Run the front end; returns the exit code."""
    return run(parser(prog), argv, call, FLAGS)


def call(args):
    """Hand the arguments to `api.train_iterations`."""
    from instance_segmentation import api
    options = (read_flags(args.load_cfg) if "load_cfg" in args else {}) | vars(args)
    if "save_cfg" in args:
        write_flags(args.save_cfg, {key: value for key, value in options.items() if key not in NOT_KEPT})
    options = {key: value for key, value in options.items() if key not in NOT_KEPT}
    if "model" in options:
        options["model"] = template_name(options["model"])
    datasets = options.pop("dataset", ["coco2017"])
    if datasets != ["coco2017"]:
        if len(datasets) != 2:
            raise TrainingError(f"--dataset {' '.join(datasets)}: expected coco2017, or two names or COCO files, of training and "
                                "validation data")
        options["datasets"] = datasets
    api.train_iterations(**options)


def read_flags(path):
    """The flags in a YAML that `write_flags` or Segmentoly wrote: entries are named as these scripts name them inside.

    Raises:
        TrainingError: It cannot be read, or has entries that are no flags.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows the tuples that Segmentoly wrote."""
    Loader.add_constructor("tag:yaml.org,2002:python/tuple", Loader.construct_sequence)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
        content = {key: value for key, value in content.items()
                   if key not in NOT_KEPT and value is not False and value not in (None, "None")}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise TrainingError(f"--load_cfg {path}: cannot be read as a YAML of flags ({' '.join(str(error).split())})") from error
    result = parser(f"--load_cfg {path}")
    flags = {action.dest: action.option_strings[-1] for action in result._actions}
    if unknown := sorted(content.keys() - flags.keys()):
        raise TrainingError(f"--load_cfg {path}: has entries that are no flags: {', '.join(unknown)}; expected some of "
                            f"{', '.join(flags)}")
    values = {key: value if isinstance(value, list) else [value] for key, value in content.items()}
    words = [[flags[key], *(str(item) for item in items if item is not True)] for key, items in values.items()]
    return vars(result.parse_args(sum(words, [])))


def write_flags(path, options):
    """Write flags' values as a YAML.

    Raises:
        TrainingError: It cannot be written.
    """
    import yaml

    from instance_segmentation.report import write_text
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    try:
        write_text(path, yaml.safe_dump(plain))
    except OSError as error:
        raise TrainingError(f"--save_cfg {path}: cannot be written: {error.strerror}") from error
