"""`instseg import-weights`, `tools/import_weights.py`: weights of other tools as checkpoints."""

import argparse
import shlex
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_classes

SOURCES = ("auto", "detectron", "maskrcnn-benchmark", "detectron2", "torchvision", "mmdet")
EXAMPLE = """examples:
  instseg import-weights model_final_f10217.pkl --template mask_rcnn_r50_fpn-detectron2 -o snapshot.pth
  instseg import-weights maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth --template mask_rcnn_r50_fpn-torchvision -o snapshot.pth

Detectron and maskrcnn-benchmark: mask_rcnn_r50_fpn-800x1344, mask_rcnn_r101_fpn-800x1344. MMDetection 2: the template of the
same network.
"""


def parser(prog="instseg import-weights"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make a checkpoint of weights that Detectron, maskrcnn-benchmark, Detectron2, torchvision or MMDetection 2 "
                    "trained. Every tensor is accounted for, and the file is read without running what it asks for.")
    result.add_argument("file", type=Path, metavar="FILE", help="a .pkl or .pth file")
    result.add_argument("--template", required=True, metavar="NAME", help="one that computes as that tool does (`instseg ls`)")
    result.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .pth file to write")
    result.add_argument("--source", choices=SOURCES, default="auto", help="the tool (default: what the tensors' names tell)")
    add_classes(result, "names in the order of its labels (default: the file's, or COCO's 80)")
    result.add_argument("--trust-checkpoint", action="store_true",
                        help="unpickle arbitrary objects of a .pth file, which can run code; only for files you trust")
    result.add_argument("-v", "--verbose", action="store_true", help="list every tensor; show the traceback of an error")
    return result


def main(argv=None, prog="instseg import-weights"):
    """Run the verb; returns the exit code."""
    return run(parser(prog), argv, call)


def call(args):
    """Import, and say what became of every tensor."""
    from instance_segmentation import api
    from instance_segmentation.report import say, table
    result = api.import_weights(args.file, args.template, args.output, source=args.source, classes=args.classes,
                                trust_checkpoint=args.trust_checkpoint)
    if args.verbose:
        table("", ("tensor there", "tensor here"), result.used)
    table(f"{args.file.name}, {result.source}", ("tensors", "", ""), result.rows())
    say("Classes", f"{len(result.classes)}: {', '.join(result.classes[:6])}{', …' if len(result.classes) > 6 else ''}")
    say("Checkpoint", f"{result.path}, {result.path.stat().st_size / 1e6:.1f} MB")
    output = shlex.quote(str(result.path))
    say("Next", f"instseg new {result.template} my_work, then python my_work/train.py --load-weights {output} …, or at once "
        f"instseg demo -m {output} -i photo.jpg")
