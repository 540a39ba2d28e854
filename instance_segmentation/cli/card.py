"""`instseg card`: write a model card."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg card my_work/outputs
  instseg card my_work/outputs --metrics my_work/metrics.json --save-card-to README.md
"""


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg card", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write a model card in Markdown from a training's run.lock.yaml: network, data, recipe, results, limits.")
    result.add_argument("run", type=Path, metavar="RUN", help="the training's output folder, or its work dir")
    result.add_argument("--metrics", type=Path, nargs="+", default=(), metavar="FILE",
                        help="metrics.json of eval.py, to be listed too: the checkpoint's, the exported model's, …")
    result.add_argument("--save-card-to", type=Path, metavar="FILE", help="(default: RUN/model_card.md)")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Hand the arguments to `api.card`."""
    from instance_segmentation import api
    api.card(args.run, metrics=args.metrics, save_card_to=args.save_card_to)
