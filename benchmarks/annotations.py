"""Time reading, normalising and writing an annotation file of train2017's size; limits: 60 s and 4 GB on 2 cores.

    python benchmarks/annotations.py [--images 118287] [--annotations 860001] [--points 22]

The file is made here, in a temporary folder. COCO's polygons have 22 points on average (val2017: mean 21.7, median 16,
95 % below 54), which gives about the size of the real instances_train2017.json (448 MB). Images are not opened. The
measured part runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

LIMIT_S, LIMIT_GB = 60, 4
CLASSES = 80


def main(argv=None):
    """Print the table; return 1 when a limit is missed at full size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--points", type=float, default=22, help="mean points of a polygon")
    parser.add_argument("--measure", nargs=2, type=Path, metavar=("FILE", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        return measure(*args.measure)
    with tempfile.TemporaryDirectory(prefix="instseg_annotations_") as folder:
        file = Path(folder) / "instances.json"
        generate(file, args.images, args.annotations, args.points)
        command = [sys.executable, __file__, "--measure", str(file), str(Path(folder) / "normal.json")]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        megabytes = file.stat().st_size / 1e6
    print(f"{report['summary']}; {megabytes:,.0f} MB, {args.points:g} points per polygon")
    print(f"{'read + normalise':>20} {report['read_s']:8.1f} s")
    print(f"{'write':>20} {report['write_s']:8.1f} s")
    total = report["read_s"] + report["write_s"]
    print(f"{'together':>20} {total:8.1f} s    limit {LIMIT_S} s")
    print(f"{'peak memory':>20} {report['peak_gb']:8.2f} GB   limit {LIMIT_GB} GB")
    return int(total > LIMIT_S or report["peak_gb"] > LIMIT_GB)


def measure(file, out):
    """Read and write once; print seconds and this process's peak memory as JSON."""
    from instance_segmentation.coco import read_annotations

    start = time.perf_counter()
    annotations = read_annotations([file], [file.parent], check_images=False)
    read = time.perf_counter()
    annotations.write(out)
    written = time.perf_counter()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"read_s": read - start, "write_s": written - read, "peak_gb": peak_gb,
                      "summary": annotations.summary()}))
    return 0


def generate(file, images, annotations, points, seed=0):
    """Write a COCO file with COCO's spread of polygon lengths, 9 % two-part polygons and 1 % crowds as RLE."""
    rng = np.random.default_rng(seed)
    with open(file, "wb") as out:
        listed = [{"id": 3 * i + 9, "file_name": f"{i:012}.jpg", "width": 640, "height": 480, "license": 1,
                   "coco_url": f"http://images.cocodataset.org/train2017/{i:012}.jpg"} for i in range(images)]
        names = [{"id": i, "name": f"class {i}", "supercategory": "thing"} for i in range(1, CLASSES + 1)]
        out.write(b'{"images": ' + msgspec.json.encode(listed) + b', "categories": ' + msgspec.json.encode(names))
        out.write(b', "annotations": [')
        for number in range(1, annotations + 1):
            entry = _annotation(rng, number, images, points)
            out.write((b", " if number > 1 else b"") + msgspec.json.encode(entry))
        out.write(b"]}")


def _annotation(rng, number, images, points):
    draw = rng.random(4)
    entry = {"id": number, "image_id": 3 * int(draw[0] * images) + 9, "category_id": 1 + int(draw[1] * CLASSES)}
    if draw[2] < 0.01:
        runs = rng.integers(1, 600, 400)
        runs = [*runs.tolist(), 480 * 640 - int(runs.sum())]
        return {**entry, "iscrowd": 1, "area": float(sum(runs[1::2])), "bbox": [0, 0, 640, 480],
                "segmentation": {"size": [480, 640], "counts": runs}}
    # Log-normal with mean `points`: median 16 and 95 % below 54 at 22, as measured on val2017.
    length = max(3, int(rng.lognormal(np.log(points) - 0.32, 0.8)))
    parts = 2 if draw[3] < 0.09 and length >= 6 else 1
    polygons = []
    for _ in range(parts):
        angle = np.sort(rng.random(max(3, length // parts))) * 2 * np.pi
        ring = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(5, 90) + rng.uniform(100, 380, 2)
        polygons.append(ring.round(2).ravel().tolist())
    xs, ys = sum((part[0::2] for part in polygons), []), sum((part[1::2] for part in polygons), [])
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {**entry, "iscrowd": 0, "area": box[2] * box[3] * 0.8, "bbox": box, "segmentation": polygons}


if __name__ == "__main__":
    sys.exit(main())
