"""Masks to RLE for many detections in a full-HD image: this package's beside mmdet's paste followed by pycocotools.

    python benchmarks/masks.py

Boxes of all sizes, masks of 28×28 smooth random probabilities, seeded. Both take turns in one process. Memory is the highest
resident set while one of them runs, less what was resident before.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(1080, 1920), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--runs", type=int, default=15)
    return parser.parse_args()


def detections(number, size_hw, side=28):
    """Boxes (N, 4) with sides from 16 pixels to the image's, and probabilities (N, side, side) of a blob each."""
    random = np.random.default_rng(0)
    sides = np.exp(random.uniform(np.log(16), np.log(size_hw), (number, 2)))[:, ::-1]
    corners = random.uniform(0, 1, (number, 2)) * (np.array(size_hw[::-1]) - sides)
    noise = random.normal(0, 1, (number, side, side)).astype(np.float32)
    across = np.linspace(-1, 1, side, dtype=np.float32)
    hill = 1.5 - 2.5 * (across[:, None] ** 2 + across[None] ** 2)
    logits = np.stack([cv2.GaussianBlur(item, (0, 0), 2) * 4 + hill for item in noise])
    return np.concatenate([corners, corners + sides], 1).astype(np.float32), logits


def contenders(boxes, logits, size_hw):
    """(name, function that returns the RLEs) of mmdet and of this package."""
    from instance_segmentation.engine import register
    register("The benchmark")
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.structures.mask import encode_mask_results
    from mmengine.config import ConfigDict

    from instance_segmentation.inference.masks import paste_rles
    head, labels = FCNMaskHead(num_classes=1), torch.zeros(len(boxes), dtype=torch.int64)
    meta, config = dict(scale_factor=(1, 1), ori_shape=size_hw, img_shape=size_hw), ConfigDict(mask_thr_binary=0.5)
    bboxes, maps = torch.from_numpy(boxes), torch.from_numpy(logits)[:, None]

    def stock():
        return encode_mask_results(head._predict_by_feat_single(maps, bboxes, labels, meta, config).numpy())

    def ours():
        return paste_rles(boxes, 1 / (1 + np.exp(-logits)), size_hw)
    return [("mmdet + pycocotools", stock), ("this package", ours)]


def extra_megabytes(call):
    """Highest resident memory during a call above that before it, in 10⁶ bytes."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    call()
    return (_status("VmHWM") - before) * 1024 / 1e6


def _status(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))


def main():
    """Measure and print a table."""
    args = parse()
    boxes, logits = detections(args.detections, tuple(args.size))
    both = contenders(boxes, logits, tuple(args.size))
    memory = [extra_megabytes(call) for _, call in both[::-1]][::-1]  # ours first: memory that stock freed must not help
    seconds = np.array([[_timed(call) for _, call in both] for _ in range(args.runs)])
    expected, found = (call() for _, call in both)
    ious = [coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(expected, found, strict=True)]
    print(f"{len(boxes)} detections, {args.size[0]}×{args.size[1]}, {args.runs} runs each, taking turns")
    for (name, _), column, megabytes in zip(both, seconds.T, memory, strict=True):
        print(f"{name:20} {1000 * median(column):8.1f} ms {median(seconds[:, 0] / column):6.2f}x {megabytes:8.1f} MB more memory")
    print(f"mask IoU between the two: mean {np.mean(ious):.6f}, lowest {min(ious):.6f}")


def _timed(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
