"""`instseg pretrained`, `tools/download_pretrained_weights.py`: the templates' published weights, ready to run."""

import argparse
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.errors import ExportError

EXAMPLE = """examples:
  instseg pretrained
  instseg pretrained efficientnet_b2b-mask_rcnn-480x480 -o models
  instseg demo -m models/efficientnet_b2b-mask_rcnn-480x480/model.xml -i photo.jpg

The models of Detectron, maskrcnn-benchmark, Detectron2 and torchvision are not among them. Fetch such a file from its
authors and make a checkpoint of it, for example of Detectron's R50-FPN (Segmentoly's mask_rcnn_resnet50_fpn_2x):
  instseg import-weights model_final.pkl --template mask_rcnn_r50_fpn-800x1344 -o snapshot.pth
"""


def parser(prog="instseg pretrained"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Fetch the weights that the templates' authors published, all of them without a name: check them by size and "
                    "sha256, make them checkpoints of this tool, and export these to OpenVINO and ONNX. A download that was "
                    "interrupted is resumed; one that fails does not stop the others, and the exit code is then 1.")
    result.add_argument("names", nargs="*", metavar="NAME", help="templates (default: all that come with weights)")
    result.add_argument("--list", action="store_true", help="list them, and do nothing")
    result.add_argument("-o", "--output", "--output_dir", type=Path, default=Path("data/pretrained_models"), metavar="DIR",
                        help="where to (default: data/pretrained_models)")
    result.add_argument("--model_zoo", type=Path, metavar="DIR", help="folder of templates (default: those of this tool)")
    result.add_argument("--no-onnx", action="store_true", help="write no ONNX")
    result.add_argument("--segmentoly", action="store_true", help="give the IR the two inputs of Segmentoly's models")
    result.add_argument("--offline", action="store_true", help="take the weights from the cache only")
    result.add_argument("-mo", "--model_optimizer", metavar="FILE",
                        help="refused: there is no Model Optimizer any more, and none is needed")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None, prog="instseg pretrained"):
    """Run the verb; returns the exit code."""
    return run(parser(prog), argv, call)


def call(args):
    """List the published weights, or hand the arguments to `api.prepare_published`."""
    from instance_segmentation import api
    if args.model_optimizer:
        raise ExportError("--model_optimizer: there is no Model Optimizer any more; the graph is built directly. Leave it out")
    if not args.list:
        api.prepare_published(args.names, args.output, root=args.model_zoo, onnx=not args.no_onnx, segmentoly=args.segmentoly,
                              offline=args.offline)
        return
    from instance_segmentation.report import say
    for template, cached in api.list_published(args.model_zoo):  # URLs are too long for a table
        size = f"{template.snapshot.size / 1e6:.1f} MB" if template.snapshot.size else ""
        say("", f"{template.name:<40} {size:>9} {'in cache' if cached else '':<8} {template.snapshot.source}")
