"""Latency of one image: eager PyTorch beside the OpenVINO IR of the same weights, interleaved in one run.

    python benchmarks/inference.py                                   # random weights of both templates
    python benchmarks/inference.py --load-weights outputs/best.pth --image photo.jpg

Prints median, spread (10th to 90th percentile) and how many times as fast as eager PyTorch. Decoding the photo and
pasting the masks are the same code for both and are left out; resizing is done once.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load-weights", type=Path, help="a checkpoint; random weights of both templates without it")
    parser.add_argument("--image", type=Path, help="a photo; seeded noise without it")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--profile", action="store_true", help="list the kernels that take longest in the FP32 IR")
    return parser.parse_args()


def networks(weights):
    """Yield (title, network in eval mode)."""
    from instance_segmentation.engine import register
    register("The benchmark")
    if weights:
        from instance_segmentation.engine.network import load_network
        yield weights.name, load_network(weights)
        return
    from tests.component.speaking import speaking_network
    for side in (480, 576):
        yield f"{side}x{side}, random weights, 80 classes", speaking_network(
            [f"class {index}" for index in range(80)], (side, side), f"{side}x{side}")


def resized(image, size_hw):
    """The photo as [3, H, W] uint8 BGR tensor; noise without one."""
    import cv2
    import torch

    from tests.component.speaking import photo_like
    pixels = cv2.imread(str(image)) if image else photo_like(size_hw, 0)
    if pixels is None:
        sys.exit(f"--image {image}: cannot be read")
    return torch.from_numpy(cv2.resize(pixels, size_hw[::-1]).transpose(2, 0, 1).copy())


def interleaved(calls, runs):
    """Seconds per call, [calls, runs], after two unmeasured rounds; the calls take turns."""
    seconds = np.zeros((len(calls), runs + 2))
    for run in range(runs + 2):
        for index, call in enumerate(calls):
            began = time.perf_counter()
            call()
            seconds[index, run] = time.perf_counter() - began
    return seconds[:, 2:]


def main():
    """Measure and print a table per network."""
    args = parse()
    for title, model in networks(args.load_weights):
        measure(title, model, resized(args.image, model.input_size), args)


def measure(title, model, image, args):
    """Measure one network and print its table."""
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.parity import run_checkpoint
    from instance_segmentation.ir.session import compile_ir
    graph, tensor = build_ir(model), image[None].float().numpy()
    fp32 = compile_ir(graph, options={"PERF_COUNT": True} if args.profile else None)
    bf16 = compile_ir(graph, options={"INFERENCE_PRECISION_HINT": "bf16"})
    calls = {"eager PyTorch": lambda: run_checkpoint(model, image), "IR FP32": lambda: fp32(tensor),
             "IR, BF16 hint": lambda: bf16(tensor)}
    seconds = interleaved(list(calls.values()), args.runs)
    print(f"{title}: {len(fp32(tensor)['labels'])} detections, {args.runs} runs each, one image at a time")
    for name, row in zip(calls, 1000 * seconds, strict=True):
        low, middle, high = np.percentile(row, [10, 50, 90])
        ratio = np.median(seconds[0]) * 1000 / middle
        print(f"  {name:<14} {middle:7.1f} ms  ({low:.1f} to {high:.1f})  {ratio:5.2f}x")
    if args.profile:
        print_profile(fp32, tensor)


def print_profile(compiled, tensor):
    """Print the kernels by time."""
    from collections import Counter
    request, total = compiled.create_infer_request(), Counter()
    request.infer(tensor)
    request.infer(tensor)
    for item in request.profiling_info:
        total[f"{item.node_type} {item.exec_type}"] += 1000 * item.real_time.total_seconds()
    for name, milliseconds in total.most_common(8):
        print(f"    {milliseconds:7.1f} ms  {name}")


if __name__ == "__main__":
    main()
