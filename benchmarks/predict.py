"""A folder through the Python API beside the model alone, its memory over many images, and what PixelLib's speeds bring.

    python benchmarks/predict.py -m export/model.xml -i photos
    python benchmarks/predict.py -m export/model.xml                      # drawn images, 640×480

"Model alone" is OpenVINO's own queue on inputs made before: no decoding, no resizing, no masks pasted. The contenders take turns.
"""

import argparse
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
ROUNDS = 5


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help=".xml")
    parser.add_argument("-i", "--input", type=Path, help="a folder of images; drawn ones without it")
    parser.add_argument("-t", "--prob_threshold", type=float, help="default: the model's own")
    parser.add_argument("--images", type=int, default=100, help="per round; 0: memory only (default 100)")
    parser.add_argument("--memory-images", type=int, default=2000, help="0 leaves the memory out (default 2000)")
    return parser.parse_args()


def repeated(files, number):
    """As many files as wanted, again and again."""
    return [str(file) for file in islice(cycle(files), number)]


def alone(detector, inputs):
    """Images per second of the model by OpenVINO's own queue."""
    import openvino as ov
    queue, began = ov.AsyncInferQueue(detector.run_many), time.perf_counter()
    for tensor in inputs:
        queue.start_async({0: tensor})
    queue.wait_all()
    return len(inputs) / (time.perf_counter() - began)


def through_api(detector, files):
    """Images per second of `predict`, and how many objects it found."""
    began = time.perf_counter()
    objects = sum(map(len, detector.predict(files)))
    return len(files) / (time.perf_counter() - began), objects


def throughput(detector, files):
    """Print images per second of both, taking turns."""
    from instance_segmentation.inference.sources import read_image
    inputs, rates = [detector.prepare(read_image(file))[0] for file in files], []
    alone(detector, inputs[:10])
    for _ in range(ROUNDS):
        first, (second, objects) = alone(detector, inputs), through_api(detector, files)
        rates.append((first, second))
    (first, second), shares = np.median(rates, 0), sorted(round(100 * ours / raw) for raw, ours in rates)
    print(f"throughput, {len(files)} images, {objects / len(files):.1f} objects each, median of {ROUNDS}: model alone "
          f"{first:.1f} images/s, predict {second:.1f} images/s; {shares} % in the rounds")


def memory(detector, files):
    """Print the memory of the process along the way."""
    process, step = psutil.Process(), max(1, len(files) // 10)
    for index, _ in enumerate(detector.predict(files), 1):
        if index % step == 0:
            print(f"memory after {index} images: {process.memory_info().rss / 1e6:.0f} MB", flush=True)


def speeds(model, file):
    """Print what an image takes with each of PixelLib's speeds, one image at a time, taking turns."""
    from instance_segmentation.pixellib import CONFIDENCE, instanceSegmentation
    segmenters, times = {speed: instanceSegmentation() for speed in CONFIDENCE}, {speed: [] for speed in CONFIDENCE}
    for speed, segmenter in segmenters.items():
        segmenter.load_model(model, detection_speed=speed)
        segmenter.model(file)
    for _ in range(15):
        for speed, segmenter in segmenters.items():
            began = time.perf_counter()
            segmenter.model(file)
            times[speed].append(time.perf_counter() - began)
    for speed, seconds in times.items():
        gain = np.median(np.divide(times[None], seconds))
        print(f"detection_speed={speed}: {1000 * np.median(seconds):.1f} ms per image, {gain:.2f}x as fast as None (median of "
              f"{len(seconds)} turns), {len(segmenters[speed].model(file))} objects")


def main():
    """Measure."""
    args = parse()
    from instance_segmentation.api import LoadOptions, load_model
    from instance_segmentation.inference.sources import image_files
    detector = load_model(args.model, LoadOptions(threshold=args.prob_threshold))
    with tempfile.TemporaryDirectory() as folder:
        if not args.input:
            from instance_segmentation.data.sample import write_sample_dataset
            args.input = write_sample_dataset(Path(folder), train=40, val=1, size_hw=(480, 640)) / "train"
        files = image_files(args.input)
        if args.images:
            throughput(detector, repeated(files, args.images))
            speeds(args.model, files[0])
        if args.memory_images:
            memory(detector, repeated(files, args.memory_images))


if __name__ == "__main__":
    main()
