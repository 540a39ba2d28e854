"""`instseg VERB …`: imports the chosen verb's module only, so that every `--help` is instant."""

import difflib
import importlib
import sys

from instance_segmentation import __version__

VERBS = {
    "ls": "List the templates, with size, speed and published accuracy.",
    "new": "Make a work dir from a template.",
    "check-data": "Examine a data set before training, and write a repaired copy.",
    "import-data": "Make COCO of VOC, YOLO, labelme or CVAT annotations.",
    "import-weights": "Make a checkpoint of Detectron's, Detectron2's or torchvision's weights.",
    "train": "Fine-tune a work dir's network on your classes.",
    "tune": "Search for the learning rate, epochs and augmentation that find most.",
    "eval": "Compute COCO AP of a checkpoint or an exported model.",
    "export": "Export a checkpoint to OpenVINO and check that both agree.",
    "convert_to_onnx": "Write a template's or a work dir's network as ONNX.",
    "compress": "Quantise to INT8 and hold the accuracy.",
    "quantize": "The same as compress.",
    "demo": "Run a model on images, a video or a camera; show and save what it finds.",
    "predict": "Run a model on a folder or a COCO file; write COCO JSON, counts, pictures, crops.",
    "download": "Fetch models of the Open Model Zoo that the demo runs.",
    "pretrained": "Fetch every template's published weights, and export them.",
    "plan": "Weigh accuracy against time, and recommend how to run an export.",
    "benchmark": "Time checkpoints and exported models side by side.",
    "check-ir": "Explain any exported model, and say which programs can run it.",
    "create": "Write a short script that trains and finds objects, to read and to change.",
    "coco": "Split, combine, count and crop COCO files.",
    "replay": "Repeat a training from its run.lock.yaml, and compare.",
    "compare": "Put trainings side by side: metrics, settings that differ, curves.",
    "card": "Write a model card from a training's run.lock.yaml.",
    "quickstart": "Run all of it on sample data, or on a COCO folder of yours.",
}
# What people of other tools, and of our own documents, type
NEAR = {"doctor": "check-data", "list": "ls", "init": "new", "test": "eval", "val": "eval", "infer": "predict",
        "inference": "predict", "convert": "export", "int8": "compress"}
ALIASES = {"quantize": "compress", **{f"coco-{word}": f"coco {word}" for word in ("split", "combine", "stats", "crop")}}  # cvtk's


def usage():
    """The text of `instseg --help`."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}} {sentence}" for verb, sentence in VERBS.items())
    return ("usage: instseg VERB …\n\nFine-tune instance segmentation and export it to OpenVINO.\n\n"
            f"verbs:\n{verbs}\n\n`instseg VERB --help` explains a verb, `instseg --version` prints the version.\n"
            "First steps:\n  instseg ls\n  instseg new efficientnet_b2b-mask_rcnn-480x480 my_work")


def main(argv=None):
    """Dispatch; returns the exit code: 2 for an unknown verb, else the verb's."""
    argv = sys.argv[1:] if argv is None else list(argv)
    first = argv[0] if argv else ""
    if first in VERBS or first in ALIASES:
        verb, *words = ALIASES.get(first, first).split()
        return importlib.import_module(f"instance_segmentation.cli.{verb.replace('-', '_')}").main([*words, *argv[1:]])
    if first in ("-h", "--help", "help"):
        print(usage())
        return 0
    if first == "--version":
        print(f"instseg {__version__}")
        return 0
    if not first:
        print(f"instseg: no verb given\n\n{usage()}", file=sys.stderr)
        return 2
    near = NEAR.get(first) or next(iter(difflib.get_close_matches(first, VERBS, n=1)), None)
    hint = f"; did you mean '{near}'?" if near else ""
    print(f"instseg: unknown verb '{first}'{hint}\nVerbs: {', '.join(VERBS)}. Try `instseg --help`.", file=sys.stderr)
    return 2
