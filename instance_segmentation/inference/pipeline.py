"""Pictures in, predictions out: several are inferred at a time, results come in order. Needs no torch.

There are generators and no threads of our own: what fails, or Ctrl-C, in any stage is raised at once where the results are
used, and nothing is left waiting.
"""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from instance_segmentation.inference.ahead import infer_ahead
from instance_segmentation.inference.tiles import detect_in_tiles


@dataclass(frozen=True)
class Frame:
    """One picture on its way.

    Attributes:
        index: From 0.
        name: Of the file, video or camera.
        image: (H, W, 3) uint8 BGR.
        began: time.perf_counter() when its reading began.
    """

    index: int
    name: str
    image: np.ndarray
    began: float


def detect(pictures, detector, metrics, number=0):
    """Detect in all pictures.

    Args:
        pictures: Iterator of (name, (H, W, 3) uint8 BGR).
        detector: A Detector.
        metrics: A Metrics; gets the time of each stage.
        number: Of pictures that are inferred at the same time; as many as the device likes when 0.

    Yields:
        (Frame, Prediction) in the order of the pictures.
    """
    inputs = _prepared(pictures, detector, metrics)
    for (frame, placement), outputs in infer_ahead(detector.run, inputs, number, partial(metrics.add, "Inference")):
        with metrics.stage("Postprocessing"):
            prediction = detector.read(outputs, placement, frame.image.shape[:2])
        yield frame, prediction


def detect_tiled(pictures, detector, metrics, tile_px, overlap):
    """Detect in all pictures tile by tile, one tile at a time; arguments and yields otherwise as of `detect`."""
    for frame in _read(pictures, metrics):
        with metrics.stage("Inference"):
            prediction = detect_in_tiles(detector, frame.image, tile_px, overlap)
        yield frame, prediction


def _prepared(pictures, detector, metrics):
    for frame in _read(pictures, metrics):
        with metrics.stage("Preprocessing"):
            tensor, placement = detector.prepare(frame.image)
        yield (frame, placement), tensor


def _read(pictures, metrics):
    index, began = 0, time.perf_counter()
    for name, image in pictures:
        metrics.add("Decoding", time.perf_counter() - began)
        yield Frame(index, name, image, began)
        index, began = index + 1, time.perf_counter()
