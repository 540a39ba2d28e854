"""`instseg tune WORK_DIR`: search for a better recipe."""

from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import count, verb_parser
from instance_segmentation.cli.train import AUGMENTATIONS, add_recipe, add_run

EXAMPLE = """example:
  instseg tune WORK_DIR --load-weights snapshot.pth --trials 30 --augment light heavy \\
      --train-ann-files data/train.json --train-data-roots data/train \\
      --val-ann-files data/val.json --val-data-roots data/val
"""


def parser():
    """Build the argument parser; defaults that a template decides are None here."""
    result = verb_parser("tune", None, "Train with one recipe after the other, the template's first, and keep the checkpoint of "
                         "the highest segm AP. Optuna draws learning rate, epochs and augmentation; a trial that falls behind is "
                         "ended. After a kill or Ctrl-C the same command goes on.", EXAMPLE)
    add_run(result)
    result.add_argument("--batch-size", type=count, metavar="N",
                        help="images per step, of each process (default: the template's)")
    search = result.add_argument_group("search")
    search.add_argument("--trials", type=count, default=20, metavar="N",
                        help="how many there shall be in all, those of earlier commands and failed ones included (default: 20)")
    search.add_argument("--timeout", type=float, metavar="MINUTES", help="begin no trial after this time")
    search.add_argument("--learning-rates", type=float, nargs=2, metavar=("LOW", "HIGH"),
                        help="range (default: a tenth to three times the rate that train.py would take)")
    search.add_argument("--epochs", type=count, nargs="+", metavar="N",
                        help="numbers to choose from (default: half the template's, the template's, twice that)")
    search.add_argument("--augment", nargs="+", metavar="NAME",
                        help=f"to choose from. {AUGMENTATIONS} (default: all but none)")
    search.add_argument("--save-search-to", type=Path, metavar="DIR", help="folder of the search (default: WORK_DIR/tune)")
    search.add_argument("--seed", type=int, default=0, metavar="N", help="of the search and of each training (default: 0)")
    add_recipe(result)
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.tune`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.tune(options.pop("work_dir"), **options)
