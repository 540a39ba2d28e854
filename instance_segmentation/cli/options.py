"""Argument groups and types that several verbs share."""

import argparse
import ast
from pathlib import Path


def verb_parser(name, work_dir, description, epilog=None):
    """A parser for a verb on a work dir: the wrapper script in it knows the folder, `instseg` is told."""
    parser = argparse.ArgumentParser(prog=f"{name}.py" if work_dir else f"instseg {name}", description=description,
                                     epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    if work_dir:
        parser.set_defaults(work_dir=work_dir)
    else:
        parser.add_argument("work_dir", type=Path, metavar="WORK_DIR", help="folder made by `instseg new`")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser


def comma_list(text):
    """`a,b c` → ["a", "b c"]: names and paths may hold spaces."""
    return [part.strip() for part in text.split(",") if part.strip()]


def count(text):
    """A number of something, at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got '{text}', expected a number from 1")
    return int(text)


def share(text):
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got '{text}', expected a number from 0 to 1, for example 0.01")
    return value


def add_data(parser, split, required=True):
    """Add `--SPLIT-ann-files` and `--SPLIT-data-roots`."""
    group = parser.add_argument_group(f"{split} data")
    group.add_argument(f"--{split}-ann-files", type=comma_list, required=required, metavar="FILE[,FILE…]",
                       help="COCO annotation files, comma-separated; globs are allowed")
    group.add_argument(f"--{split}-data-roots", type=comma_list, required=required, metavar="DIR[,DIR…]",
                       help="image folders: one for all files, or one per file")


def add_classes(parser, text):
    """Add `--classes`."""
    parser.add_argument("--classes", type=comma_list, metavar="NAME[,NAME…]", help=text)


def add_weights(parser, text, required):
    """Add `--load-weights` and the switch that allows unpickling."""
    parser.add_argument("--load-weights", type=Path, required=required, metavar="FILE", help=text)
    parser.add_argument("--trust-checkpoint", action="store_true",
                        help="unpickle arbitrary objects of the checkpoint, which can run code; only for files you trust")


def add_tiles(parser, text):
    """Add `--tile` and `--overlap`."""
    parser.add_argument("--tile", type=count, metavar="PIXELS", help=text)
    parser.add_argument("--overlap", type=share, default=0.25, metavar="SHARE",
                        help="share of a tile that its neighbour shows too; more than the largest object needs (default: 0.25)")


class InputSize(argparse.Action):
    """`--input-size 384` or `--input-size 384 512` → (height, width)."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the pair; one number is a square."""
        if len(values) > 2:
            parser.error(f"{option_string}: got {len(values)} numbers, expected one (square) or height and width")
        setattr(namespace, self.dest, (values[0], values[-1]))


def add_input_size(parser, text="network input: one number, or height and width; multiples of 32. Smaller is faster and sees "
                                "less. The checkpoint and the exported model remember it (default: the template's)"):
    """Add `--input-size`."""
    parser.add_argument("--input-size", type=int, nargs="+", action=InputSize, metavar="PIXELS", help=text)


def add_resize(parser, required=False):
    """Add the ways of resizing that keep the aspect ratio, and return their group."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--fit_max", "--fix_max", type=count, nargs=2, metavar=("SCALE", "MAXSIZE"),
                       help="keep the aspect ratio: the shorter side becomes at most SCALE pixels, the longer at most MAXSIZE")
    group.add_argument("--fit_window", type=count, nargs=2, metavar=("HEIGHT", "WIDTH"),
                       help="keep the aspect ratio and fit into HEIGHT×WIDTH pixels; a network of fixed input keeps its own size")
    return group


class KeyValues(argparse.Action):
    """Collect `key=value` pairs; parsed like mmengine's DictAction, which is imported only when the flag is used.

    DictAction knows numbers, lists and tuples, but no dicts, and drops the spaces of a text: what holds a brace or begins with a
    quote is a Python literal.
    """

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the pairs as a dict of dotted keys."""
        from mmengine.config import DictAction
        for pair in values:
            key, _, value = pair.partition("=")
            if not key or not value:
                parser.error(f"{option_string}: got '{pair}', expected KEY=VALUE")
            if value[0] in "'\"" or "{" in value:
                pairs = {**(getattr(namespace, self.dest) or {}), key: python_literal(parser, option_string, value)}
                setattr(namespace, self.dest, pairs)
            else:
                DictAction(self.option_strings, self.dest)(parser, namespace, [pair], option_string)


def python_literal(parser, flag, text):
    """The value of a dict, list or text as Python writes it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        parser.error(f"{flag}: got {text}, expected a Python literal with its texts in quotes, for example "
                     "\"{'type': 'SGD', 'lr': 0.01}\"")


def add_cfg_options(parser):
    """Add `--cfg-options`."""
    parser.add_argument("--cfg-options", nargs="+", action=KeyValues, metavar="KEY=VALUE",
                        help="change any value of model.py, for example optim_wrapper.optimizer.weight_decay=0.0005, "
                             "model.neck.in_channels=[24,48,120,352] or \"optim_wrapper.clip_grad={'max_norm': 10}\"; a dict is "
                             "merged into the one there, with '_delete_': True it replaces it; unknown keys are an error")
