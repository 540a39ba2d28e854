"""Latency and throughput of one image: stock PyTorch, our PyTorch and the IR of the same weights, taking turns in one run.

    python benchmarks/inference.py                                   # random weights of both templates, 80 classes
    python benchmarks/inference.py --template point_rend_r50-800x1344 --runs 1 --no-stock
    python benchmarks/inference.py --load-weights outputs/best.pth --input-size 480 --image photo.jpg

"PyTorch, stock process" is eager PyTorch in a process of its own without the memory and thread settings that this package
makes when it loads mmdet (engine/memory.py, GOMP_SPINCOUNT). Decoding and mask pasting are left out: they are the same code
for all.
"""

import argparse
import os
import sys
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
TEMPLATES = ("efficientnet_b2b-mask_rcnn-480x480", "efficientnet_b2b-mask_rcnn-576x576")


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load-weights", type=Path, help="a checkpoint; random weights without it")
    parser.add_argument("--template", action="append", metavar="NAME", help="whose network gets random weights (default: both "
                        "EfficientNet templates); may be given again")
    parser.add_argument("--input-size", type=int, help="run the checkpoint at this size instead of its own")
    parser.add_argument("--image", type=Path, help="a photo; seeded noise without one")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--no-stock", action="store_true", help="leave the stock process out, for slow networks")
    parser.add_argument("--profile", action="store_true", help="list where the time of the IR goes")
    return parser.parse_args()


def network(weights, side, template):
    """The checkpoint's network at `side`, or the template's with random weights."""
    from instance_segmentation.engine import register
    register("The benchmark")
    if weights:
        from instance_segmentation.engine.network import load_network
        model = load_network(weights)
        model.input_size = (side, side) if side else model.input_size
        return model
    from instance_segmentation.templates.catalogue import find_template
    from tests.component.speaking import speaking_network
    return speaking_network([f"class {index}" for index in range(80)], find_template(template).input_size, template)


def serve(pipe, chosen, image):
    """In the child: run the network once for every message."""
    from instance_segmentation.engine import memory
    memory.keep_freed_memory = lambda: None
    from instance_segmentation.deployment.benchmarking import eager, prepared
    model = network(*chosen)
    contender = eager(model, prepared(image, model.input_size))
    pipe.send("ready")
    with suppress(EOFError):  # the parent is done
        while pipe.recv():
            contender.call()
            pipe.send("done")


def stock_process(chosen, image):
    """A Contender that runs in a process without our settings."""
    from instance_segmentation.ir.speed import Contender
    context, ours = get_context("spawn"), os.environ.get("GOMP_SPINCOUNT")
    here, there = context.Pipe()
    os.environ["GOMP_SPINCOUNT"] = "300000"  # libgomp's own default
    context.Process(target=serve, args=(there, chosen, image), daemon=True).start()
    os.environ.pop("GOMP_SPINCOUNT") if ours is None else os.environ.update(GOMP_SPINCOUNT=ours)
    here.recv()

    def call():
        here.send(True)
        here.recv()
    return Contender("PyTorch, stock process", call, lambda count: [call() for _ in range(count)])


def main():
    """Measure and print a table per network."""
    args = parse()
    for template in ((None,) if args.load_weights else args.template or TEMPLATES):
        from instance_segmentation.deployment.benchmarking import eager, openvino_pair, prepared, tell, tell_layers
        from instance_segmentation.ir.graph import build_ir
        from instance_segmentation.ir.speed import measure
        chosen = args.load_weights, args.input_size, template
        stock, model = [] if args.no_stock else [stock_process(chosen, args.image)], network(*chosen)
        pixels = prepared(args.image, model.input_size)
        pair = openvino_pair("IR FP32", build_ir(model), pixels)
        found = len(pair[0].request.infer({0: pixels})["labels"])
        weights = args.load_weights or f"{template}, random weights, 80 classes"
        timings = measure([*stock, eager(model, pixels), *pair], args.runs, rounds=min(3, args.runs))
        tell(timings, f"{weights}, {model.input_size}, {found} detections, {args.runs} runs each")
        if args.profile:
            tell_layers(pair[0].name, pair[0].request)


if __name__ == "__main__":
    main()
