"""`instseg demo`, `tools/demo.py`: run a model on images, videos and cameras. The flags are the Open Model Zoo demo's."""

import argparse
import re
import sys
from pathlib import Path

from instance_segmentation.cli import ending_on_signals, run
from instance_segmentation.cli.options import add_resize, add_tiles, share

EXAMPLE = """examples:
  instseg demo -m export/model.xml -i photo.jpg -o found.jpg --no_show
  instseg demo -m export/model.xml -i video.mp4 -o found.mp4 --show_boxes --show_scores --save-json found.jsonl
  instseg demo -m export/model.xml -i 0 -u cdm
  instseg demo -m localhost:9000/models/instance_segmentation --adapter ovms -i photos --labels labels.txt -o out_%03d.jpg
Segmentoly's flags work too: demo.py openvino --help, demo.py pytorch --help
"""


def parser(prog="instseg demo"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog=prog, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run an instance segmentation model on images, a video or a camera; show and save what it finds. ESC or Q "
                    "ends it, C, D, M and H switch the monitors.")
    group = result.add_argument_group("Options")
    add_network(group)
    group.add_argument("-i", "--input", required=True, dest="source",
                       help="an image, a folder of images, a video, a camera's number, or a URL (rtsp://…, http://…)")
    group = result.add_argument_group("Common model options")
    add_model_options(group)
    group.add_argument("--no_track", action="store_true", help="do not follow objects through a video or camera")
    group.add_argument("--show_scores", action="store_true", help="show detection scores")
    group.add_argument("--show_boxes", action="store_true", help="show bounding boxes")
    add_inference(result.add_argument_group("Inference options"))
    add_input_output(result.add_argument_group("Input/output options"))
    group = result.add_argument_group("Debug options")
    group.add_argument("-r", "--raw_output_message", action="store_true",
                       help="print each frame's detections as a table; class 1 is the first after the background")
    group.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def add_network(group, required=True):
    """Add what runs."""
    group.add_argument("-m", "--model", required=required,
                       help=".xml (or .bin), .onnx or .pth file, or with --adapter ovms the address "
                            "HOST:PORT/models/NAME[:VERSION]")
    group.add_argument("--adapter", choices=("openvino", "ovms"), default="openvino",
                       help="what runs the model: OpenVINO here, or a model server (default openvino)")
    group.add_argument("-d", "--device", default="CPU",
                       help="OpenVINO device: CPU, GPU, NPU, AUTO, HETERO:…, MULTI:… (default CPU)")


def add_model_options(group):
    """Add what can be said about a model from outside."""
    group.add_argument("--labels", type=Path, metavar="FILE",
                       help="text file with one class name per line, a first line for the background or not; needed for models "
                            "that do not know their classes")
    group.add_argument("-t", "--prob_threshold", type=share,
                       help="lowest score that counts (default: the model's own for each class, 0.5 when it has none)")
    group.add_argument("--layout", help="layout of the model's inputs, in capitals: \"[NCHW]\", or \"NAME1[NCHW],NAME2[NC]\"; "
                                        "guessed from the shape without it")
    add_tiles(group, "small objects: detect in tiles of this side and merge what they show")
    add_resize(group)
    group.add_argument("--mean_pixel", type=float, nargs=3, default=(), metavar=("B", "G", "R"),
                       help="subtracted from every pixel, for models that do not do it themselves")
    group.add_argument("--trust-checkpoint", action="store_true",
                       help="unpickle arbitrary objects of a .pth file, which can run code; only for files you trust")


def add_inference(group):
    """Add how OpenVINO runs it."""
    group.add_argument("-nireq", "--num_infer_requests", type=_natural, default=0, metavar="N",
                       help="number of images that are inferred at the same time (default 0: as many as the device likes)")
    group.add_argument("-nstreams", "--num_streams", default="", metavar="N",
                       help="number of streams of the device, or DEVICE:N,DEVICE:N for the devices of HETERO, MULTI and AUTO")
    group.add_argument("--precision", choices=("f32", "bf16", "f16", "auto"),
                       help="in which OpenVINO computes: f32 as the checkpoint does, bf16 and f16 faster where the device can, "
                            "auto what the device likes best, as other clients do (default: f32, or what instseg plan found)")
    group.add_argument("-nthreads", "--num_threads", type=_natural, metavar="N", help="number of processor threads")


def add_input_output(group):
    """Add what the demo reads, shows and saves, but for its input."""
    group.add_argument("--loop", action="store_true", help="read the input again and again")
    group.add_argument("-o", "--output", type=Path,
                       help="where to save: out.avi (Motion JPEG), out.mp4, or images out_%%03d.jpg, out_%%03d.png")
    group.add_argument("-limit", "--output_limit", type=_natural, default=1000, metavar="N",
                       help="number of frames that are saved at most, 0 for all (default 1000)")
    group.add_argument("--no_show", action="store_true", help="open no window")
    group.add_argument("--output_resolution", type=_resolution, metavar="WxH",
                       help="scale pictures to fit in, for example 1280x720 (default: the input's size)")
    group.add_argument("-u", "--utilization_monitors", default="", metavar="LETTERS",
                       help="monitors to show at first: c CPU, d its distribution over the cores, m memory, for example cdm")
    group.add_argument("--save-json", type=Path, metavar="FILE",
                       help="write one JSON object per frame: boxes, labels, scores, track ids, masks as RLE")
    group.add_argument("--line-width", type=_natural, metavar="PIXELS", help="width of drawn lines (default: by resolution)")
    group.add_argument("--text-size", type=float, metavar="SCALE", help="size of text, 0.4 is small (default: by resolution)")
    group.add_argument("--delay", type=_natural, default=1, metavar="MS",
                       help="how long each picture stays in the window, 0 until a key is pressed (default 1)")


def _natural(text):
    """A whole number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"got '{text}', expected a whole number from 0")
    return int(text)


def _resolution(text):
    """`1280x720` → (1280, 720)."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"got '{text}', expected WIDTHxHEIGHT in pixels, for example 1280x720")
    return int(match[1]), int(match[2])


def main(argv=None, prog="instseg demo"):
    """Run the verb, or Segmentoly's front end when its flags are given; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    from instance_segmentation.cli import segmentoly
    with ending_on_signals():
        return segmentoly.demo(argv, prog) if segmentoly.is_meant(argv) else run(parser(prog), argv, call)


def call(args):
    """Hand the arguments to `api.demo`."""
    from instance_segmentation import api
    options = {key: value for key, value in vars(args).items() if key != "verbose"}
    api.demo(options.pop("model"), options.pop("source"), **options)
