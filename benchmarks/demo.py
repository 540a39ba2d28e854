"""The demo beside the model alone, its own work per frame, and whether track ids stay with their objects.

    python benchmarks/demo.py -m export/model.xml                       # a model trained on the sample data set
    python benchmarks/demo.py -m export/model.xml -i video.mp4 -t 0.3   # throughput on a video of yours

Without -i the video is drawn: objects of the sample data set move over each other on a ground of their own, 768×432, and
the place of each is known in every frame.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

SIZE_HW, FRAMES, ROUNDS = (432, 768), 150, 5
SEEDS = range(20, 25)  # the tracker was tuned on others


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help=".xml")
    parser.add_argument("-i", "--input", type=Path, help="a video; the drawn one without it")
    parser.add_argument("-t", "--prob_threshold", type=float, default=0.5)
    return parser.parse_args()


def moving_scene(path, size_hw, objects, seed=0, step_px=3):
    """Write a video of sample objects that move on straight lines, up to `step_px` a frame along x and y, and bounce.

    Returns:
        For each frame a dict of object number → RLE of what is visible of it.
    """
    from instance_segmentation.data.sample import draw_scene
    random = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(draw_scene(random, size_hw)[0], (0, 0), 25)
    scenes = (draw_scene(random, size_hw) for _ in count())
    whole = (cut_out(picture, item) for picture, items in scenes for item in items if lies_free(item, items))
    sprites = list(islice(whole, objects))
    room = [np.subtract(size_hw[::-1], mask.shape[::-1]) for _, mask in sprites]
    places, steps = [random.uniform(0, space) for space in room], random.uniform(-step_px, step_px, (len(sprites), 2))
    writer, truth = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size_hw[::-1]), []
    for index in range(FRAMES):
        frame, owner = ground.copy(), np.zeros(size_hw, np.uint8)
        for number, (pixels, mask) in enumerate(sprites):
            way = (places[number] + index * steps[number]) % (2 * room[number])
            x, y = np.minimum(way, 2 * room[number] - way).astype(int)
            window = slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])
            frame[window][mask], owner[window][mask] = pixels[mask], number + 1
        writer.write(frame)
        truth.append({number: coco_mask.encode(np.asfortranarray(owner == number + 1, np.uint8)) for number in range(len(sprites))
                      if (owner == number + 1).any()})
    writer.release()
    return truth


def lies_free(item, items):
    """Whether nothing covers an object of a scene: a part of a starfish is not what a network was trained to find."""
    boxes = [other["bbox"] for other in items if other is not item]
    return not item["iscrowd"] and not (boxes and coco_mask.iou([item["bbox"]], boxes, [0] * len(boxes)).any())


def cut_out(picture, item):
    """Pixels and mask of an annotated object's box."""
    from instance_segmentation.coco.masks import to_rle
    from instance_segmentation.inference.masks import mask_crop
    mask, (x, y) = mask_crop(to_rle(item["segmentation"], picture.shape[:2]))
    return picture[y:y + mask.shape[0], x:x + mask.shape[1]], mask > 0


def quietly(model, video, threshold, **options):
    """Metrics of a run of the demo, with rendering, boxes, scores and an .avi written."""
    from instance_segmentation.api import demo
    with redirect_stdout(StringIO()):
        return demo(model, video, prob_threshold=threshold, no_show=True, show_boxes=True, show_scores=True, output_limit=0,
                    **options)


def model_alone(model, video):
    """Images per second of the IR by OpenVINO's own queue, on the video's frames, resized before."""
    import openvino as ov

    from instance_segmentation.inference.exported import LoadOptions, load_exported
    from instance_segmentation.inference.sources import open_source
    from instance_segmentation.ir.session import throughput_properties
    detector = load_exported(model, LoadOptions(properties=throughput_properties()))
    inputs = [detector.prepare(image)[0] for _, image in open_source(video).pictures]

    def run():
        queue, began = ov.AsyncInferQueue(detector.run), time.perf_counter()
        for tensor in inputs:
            queue.start_async({0: tensor})
        queue.wait_all()
        return len(inputs) / (time.perf_counter() - began)
    return run


def throughput(model, video, threshold, folder):
    """Print images per second of the model alone and of the demo, taking turns, and the demo's stages."""
    alone, rates = model_alone(model, video), []
    for _ in range(ROUNDS):
        first, metrics = alone(), quietly(model, video, threshold, output=folder / "out.avi")
        rates.append((first, metrics.frames / (metrics.last - metrics.first)))
    (first, second), shares = np.median(rates, 0), sorted(round(100 * demo / model) for model, demo in rates)
    rows = dict(metrics.report())
    print(f"throughput, {metrics.frames} frames, median of {ROUNDS}: model alone {first:.1f} images/s, demo {second:.1f} "
          f"images/s; {shares} % in the rounds")
    print("  per frame: " + ", ".join(f"{name} {text}" for name, text in rows.items()))


def own_work(objects=20, frames=100):
    """Print the demo's work per frame on made-up outputs of a network: postprocessing, tracking, rendering."""
    from instance_segmentation.inference.contracts import MASK_RCNN
    from instance_segmentation.inference.detector import Detector
    from instance_segmentation.inference.drawing import draw
    from instance_segmentation.inference.resizing import Resize
    from instance_segmentation.inference.tracking import IouTracker
    random, tracker, times = np.random.default_rng(0), IouTracker(), []
    detector = Detector(None, MASK_RCNN, dict(boxes="boxes", labels="labels", masks="masks"), tuple("abcde"),
                        Resize(size_hw=SIZE_HW))
    image = random.integers(0, 255, (*SIZE_HW, 3), np.uint8)
    centres, sides = random.uniform([100, 100], [668, 332], (objects, 2)), random.uniform(60, 200, (objects, 1))
    steps, (y, x) = random.normal(0, 1, (objects, 2)), np.mgrid[-1:1:28j, -1:1:28j]
    masks = np.tile(1 / (1 + np.exp(8 * (np.hypot(x, y) - 0.85))), (objects, 1, 1)).astype(np.float32)
    labels, placement = np.arange(objects) % 5, detector.prepare(image)[1]
    for index in range(frames):
        moved = centres + index * steps
        boxes = np.concatenate([moved - sides / 2, moved + sides / 2, np.full((objects, 1), 0.9)], 1).astype(np.float32)
        marks = [time.perf_counter()]
        found = detector.read(dict(boxes=boxes, labels=labels, masks=masks), placement, SIZE_HW)
        marks.append(time.perf_counter())
        found = tracker(replace(found, image_bgr=image))
        marks.append(time.perf_counter())
        draw(image, found)
        times.append(np.diff([*marks, time.perf_counter()]))
    post, track, render = 1000 * np.median(times[2:], 0)
    print(f"own work, {objects} objects at {SIZE_HW[1]}×{SIZE_HW[0]}, median of {frames} frames: postprocessing {post:.1f} ms, "
          f"tracking {track:.1f} ms, rendering {render:.1f} ms, together {post + track + render:.1f} ms")


def found_by_model(model, video, threshold):
    """Yield the model's Prediction for each frame."""
    from instance_segmentation.inference.exported import LoadOptions, load_exported
    from instance_segmentation.inference.metrics import Metrics
    from instance_segmentation.inference.pipeline import detect
    from instance_segmentation.inference.sources import open_source
    detector = load_exported(model, LoadOptions(threshold=threshold))
    for frame, prediction in detect(open_source(video).pictures, detector, Metrics()):
        yield replace(prediction, image_bgr=frame.image)


def found_with_errors(truth, video, missed=0.1, off_px=1, seed=0):
    """Yield a Prediction for each frame as a good network would make it.

    Some objects are missed, masks are moved, shrunk or grown by up to `off_px`, and the order is another one every time.
    """
    from instance_segmentation.inference.sources import open_source
    from instance_segmentation.prediction import Prediction
    random = np.random.default_rng(seed)
    for visible, (_, image) in zip(truth, open_source(video).pictures, strict=True):
        masks = [coco_mask.decode(rle) for rle in random.permutation(list(visible.values())) if random.random() > missed]
        for index, mask in enumerate(masks):
            dx, dy, size = random.integers(-off_px, off_px + 1, 3)
            mask = cv2.warpAffine(mask, np.float32([[1, 0, dx], [0, 1, dy]]), image.shape[1::-1])
            masks[index] = (cv2.dilate if size > 0 else cv2.erode)(mask, np.ones((abs(size) * 2 + 1,) * 2, np.uint8))
        rles = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
        zeros = np.zeros((len(rles), 4), np.float32)
        yield Prediction(zeros, zeros[:, 0], zeros[:, 0].astype(np.int64), rles, ("object",), image.shape[:2],
                         image_bgr=image)


def identities(title, runs):
    """Print in how many of the places where an object is found it has the track id that it has most often.

    Args:
        title: For the line.
        runs: Pairs (iterable of Predictions, what `moving_scene` returned).
    """
    seen, kept, there = np.sum([kept_places(predictions, truth) for predictions, truth in runs], 0)
    print(f"identities, {title}: found in {seen} of {there} places, with their own id in {kept}: "
          f"{100 * kept / max(seen, 1):.1f} %")


def kept_places(predictions, truth):
    """In how many places an object was found, was found with its own id, and was."""
    from instance_segmentation.inference.tracking import IouTracker
    ids = defaultdict(list)
    for prediction, visible in zip(map(IouTracker(), predictions), truth, strict=True):
        if not len(prediction):
            continue
        ious = coco_mask.iou(prediction.rles, list(visible.values()), [0] * len(visible))
        for column, number in enumerate(visible):
            if ious[:, column].max() > 0.5:
                ids[number].append(int(prediction.track_ids[ious[:, column].argmax()]))
    kept = sum(Counter(numbers).most_common(1)[0][1] for numbers in ids.values())
    return sum(map(len, ids.values())), kept, sum(map(len, truth))


def main():
    """Measure and print."""
    args = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn, small = folder / "moving.avi", folder / "small.avi"
        moving_scene(drawn, SIZE_HW, 8)
        throughput(args.model, args.input or drawn, args.prob_threshold, folder)
        own_work()
        for objects, step_px in ((6, 3), (3, 8), (8, 3)):
            videos = [folder / f"{objects}-{step_px}-{seed}.avi" for seed in SEEDS]
            truths = [moving_scene(video, SIZE_HW, objects, seed, step_px) for video, seed in zip(videos, SEEDS, strict=True)]
            identities(f"{objects} objects, up to {step_px} px a frame, masks with errors",
                       [(found_with_errors(truth, video), truth) for video, truth in zip(videos, truths, strict=True)])
        runs = []
        for seed in SEEDS:
            truth = moving_scene(small, (320, 320), 5, seed)  # the size of the sample data set's images
            runs.append((list(found_by_model(args.model, small, args.prob_threshold)), truth))
        identities(f"the model's own masks, score ≥ {args.prob_threshold}", runs)


if __name__ == "__main__":
    main()
