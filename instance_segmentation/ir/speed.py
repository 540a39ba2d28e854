"""How fast exported models are, side by side in one run. Needs no torch."""

import time
from dataclasses import dataclass

import numpy as np
import openvino as ov

from instance_segmentation.ir.session import compile_ir


@dataclass(frozen=True)
class Speed:
    """Median milliseconds of one image at a time, and images per second with as many at a time as the device likes."""

    ms: float
    images_per_s: float


def measure(models, images, runs=15, seconds=3.0):
    """Measure models on the same images.

    Args:
        models: ov.Models.
        images: Inputs [1, 3, H, W], at least one; they take turns.
        runs: Timed rounds of the latency; the models take turns within a round, so that a busy machine slows all alike.
        seconds: Least duration of each throughput run.

    Returns:
        A Speed per model.
    """
    latencies = _latencies([compile_ir(model) for model in models], images, runs)
    return [Speed(latency, _throughput(model, images, seconds)) for model, latency in zip(models, latencies, strict=True)]


def _latencies(compiled, images, runs):
    times = np.zeros((runs + 2, len(compiled)))  # the first two rounds warm up
    for run, row in enumerate(times):
        for index, model in enumerate(compiled):
            began = time.perf_counter()
            model(images[run % len(images)])
            row[index] = time.perf_counter() - began
    return (1000 * np.median(times[2:], axis=0)).tolist()


def _throughput(model, images, seconds):
    compiled = compile_ir(model, options={"PERFORMANCE_HINT": "THROUGHPUT"})
    queue, done = ov.AsyncInferQueue(compiled), 0
    for index in range(len(queue)):  # every request once before the clock starts
        queue.start_async(images[index % len(images)])
    queue.wait_all()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        queue.start_async(images[done % len(images)])
        done += 1
    queue.wait_all()
    return done / (time.perf_counter() - began)
