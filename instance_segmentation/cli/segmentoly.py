"""Segmentoly's command lines: `tools/demo.py … pytorch|openvino` and `tools/test.py … pytorch|openvino`.

The sub-command may stand anywhere, and flags before and after it, so that `--images *.jpg openvino` is no riddle.
"""

import argparse
import sys
from pathlib import Path

from instance_segmentation.cli import run
from instance_segmentation.cli.demo import add_input_output
from instance_segmentation.cli.options import add_resize, count, share
from instance_segmentation.errors import WeightsError

BACKENDS = {"pytorch": "pytorch", "openvino": "openvino", "OpenVINO": "openvino", "OpenVINO™": "openvino"}
# Segmentoly's classes, with whatever goes before the last dot, which its users have in scripts
NETWORKS = dict(ResNet50FPNMaskRCNN="mask_rcnn_r50_fpn-800x1344", ResNet101FPNMaskRCNN="mask_rcnn_r101_fpn-800x1344",
                ResNet50C4MaskRCNN="mask_rcnn_r50_c4-800x1344")
# Ours → these programs'
FLAGS = {"--load-weights": "--ckpt", "-m": "--ckpt", "--test-ann-files": "--dataset", "--test-data-roots": "--dataset"}
DEMO = """example:
  demo.py --dataset coco_2017_val --ckpt model.bin --fit_window 800 1333 --video 0 --delay 1 --show_fps openvino --model model.xml
"""
TEST = """example:
  test.py --dataset coco_2017_val --ckpt outputs/best.pth --fit_max 800 1333 pytorch --show_flops
"""


def is_meant(argv):
    """Whether a command line of the demo is Segmentoly's: the Open Model Zoo's has no `--ckpt`, and begins with a flag."""
    return (argv and argv[0] in BACKENDS) or any(word.partition("=")[0] == "--ckpt" for word in argv)


def split_backend(argv):
    """The sub-command, None when there is none, and the other words."""
    at = next((index for index, word in enumerate(argv) if word in BACKENDS), None)
    return (None, argv) if at is None else (BACKENDS[argv[at]], argv[:at] + argv[at + 1:])


def demo(argv, prog):
    """Run the demo's front end; returns the exit code."""
    return _run(demo_parser, argv, prog, call_demo)


def test(argv=None, prog="test.py"):
    """Run the evaluation's front end; returns the exit code."""
    return _run(test_parser, sys.argv[1:] if argv is None else argv, prog, call_test)


def _run(make_parser, argv, prog, call):
    backend, words = split_backend(argv)
    parser = make_parser(prog, backend or "openvino")
    if not backend and not {"-h", "--help"}.intersection(words):
        parser.error("expected a sub-command, pytorch or openvino")
    return run(parser, words, call, FLAGS)


def demo_parser(prog, backend):
    """Build the demo's parser."""
    result = _parser(prog, backend, "Run a model on images or a video, and show what it finds. ESC or Q ends it.", DEMO)
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("-v", "--video", metavar="PATH|ID", help="a video, a camera's number, or a URL")
    source.add_argument("-i", "--images", nargs="+", metavar="PATH", help="images and folders of images")
    add_resize(result, required=True)
    result.add_argument("--show_scores", action="store_true", help="show detection scores")
    result.add_argument("--show_boxes", action="store_true", help="show bounding boxes")
    result.add_argument("--show_fps", action="store_true", help="write frames per second into the pictures")
    result.add_argument("-pt", "--prob_threshold", type=share,
                        help="lowest score that counts (default: the model's own for each class, 0.5 when it has none)")
    add_input_output(result.add_argument_group("Output"))
    result.set_defaults(delay=0)
    return result


def test_parser(prog, backend):
    """Build the evaluation's parser."""
    result = _parser(prog, backend, "Compute COCO box and mask AP of a model.", TEST, dataset_required=True)
    resize = add_resize(result, required=True)
    resize.add_argument("--size", type=count, nargs=2, metavar=("HEIGHT", "WIDTH"), help="resize, whatever the aspect ratio")
    result.add_argument("--rgb", action="store_true", help="the model takes RGB pixels")
    result.add_argument("--nw", dest="num_workers", type=int, default=8, metavar="N", help="data loading processes (default 8)")
    if backend == "pytorch":
        result.add_argument("--batch_size", type=int, choices=[1], default=1, help="1: images are evaluated one by one")
    return result


def _parser(prog, backend, description, epilog, dataset_required=False):
    """What both front ends share."""
    result = argparse.ArgumentParser(
        prog=f"{prog} {backend}", description=f"{description} The other sub-command: {_other(backend)}.", epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--dataset", required=dataset_required, metavar="NAME|FILE",
                        help="coco_YEAR_SPLIT in data/coco, or a COCO annotation file; its classes are for models that know none")
    result.add_argument("--ckpt", type=Path, required=True, metavar="FILE", help="weights: .pth, or the .bin beside --model")
    result.add_argument("--mean_pixel", type=float, nargs=3, default=(), metavar=("B", "G", "R"),
                        help="subtracted from every pixel, instead of a checkpoint's own mean, or by models without one")
    result.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    result.set_defaults(backend=backend)
    (_add_pytorch if backend == "pytorch" else _add_openvino)(result)
    return result


def _other(backend):
    return "openvino" if backend == "pytorch" else "pytorch"


def _add_pytorch(parser):
    group = parser.add_argument_group("PyTorch")
    group.add_argument("--model", metavar="NAME|PATH", help="template, work dir, model.py or Segmentoly's class, of a "
                       "checkpoint that does not know its network; those of this tool do")
    group.add_argument("--show_flops", action="store_true", help="print floating-point operations per image")
    group.add_argument("--show_layers_flops", action="store_true", help="the same for every part of the network")


def _add_openvino(parser):
    group = parser.add_argument_group("OpenVINO")
    group.add_argument("--model", type=Path, required=True, metavar="FILE", help=".xml with the network")
    group.add_argument("-d", "--device", default="CPU", help="OpenVINO device (default CPU)")
    group.add_argument("-l", "--cpu_extension", type=Path, metavar="FILE", help="library with operations that the model needs")
    group.add_argument("-pp", "--plugin_dir", metavar="DIR", help="refused: OpenVINO finds its plugins itself since 2022")
    group.add_argument("--show_pc", "--show_performance_counters", action="store_true", help="print where the time goes")


def call_demo(args):
    """Hand the arguments to `api.demo`, and print what was asked for besides."""
    from instance_segmentation import api
    weights, config, loading = _model(args)
    names = ("show_scores", "show_boxes", "show_fps", "prob_threshold", "delay", "loop", "output", "output_limit", "no_show",
             "output_resolution", "utilization_monitors", "save_json", "line_width", "text_size")
    source = args.images or args.video
    api.demo(weights, source, config=config, **loading, **{name: getattr(args, name) for name in names})
    _print_costs(args, weights, config, source, loading)


def call_test(args):
    """Hand the arguments to `api.evaluate`, and print what was asked for besides."""
    from instance_segmentation import api
    weights, config, loading = _model(args)
    loading |= dict(size=args.size, rgb=args.rgb)
    data = api.find_dataset(args.dataset)
    result = api.evaluate(None, load_weights=weights, test_ann_files=[str(data.ann_file)], test_data_roots=[str(data.image_root)],
                          num_workers=args.num_workers, config=config, **loading)
    result.tell()
    _print_costs(args, weights, config, str(data.image_root), loading)


def _model(args):
    """Weights, model.py or None, and how images get into the network."""
    loading = dict(fit_max=args.fit_max, fit_window=args.fit_window, mean_pixel=args.mean_pixel)
    if args.backend == "pytorch":
        return args.ckpt, _config(args.model), loading
    if args.plugin_dir:
        raise WeightsError("--plugin_dir: OpenVINO finds its plugins itself since 2022; leave the flag out")
    if args.ckpt.resolve() != args.model.resolve().with_suffix(".bin"):
        raise WeightsError(f"--ckpt {args.ckpt}: expected {args.model.with_suffix('.bin')}, the .bin beside --model; an OpenVINO "
                           "model is a pair of files of one name")
    from instance_segmentation import api
    names = api.find_dataset(args.dataset).classes if args.dataset else None
    return args.model, None, loading | dict(device=args.device, extension=args.cpu_extension, labels=names)


def _config(model):
    """The model.py that `--model` means."""
    if not model or model.endswith(".py"):
        return model and Path(model)
    from instance_segmentation import api
    template = api.find_template(template_name(model))
    return template.path / template.config


def template_name(model):
    """The template that `--model` means: one of NETWORKS, or what is written."""
    return NETWORKS.get(model.rpartition(".")[2], model)


def _print_costs(args, weights, config, source, loading):
    """Print operations or times by layer."""
    from instance_segmentation import api
    if args.backend == "openvino":
        if args.show_pc:
            api.profile(weights, source, **loading)
    elif args.show_flops or args.show_layers_flops:
        api.complexity(weights, config=config, by_layer=args.show_layers_flops, source=source, **loading)
