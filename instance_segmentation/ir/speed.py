"""Timing ways to run a network: they take turns in one run, so that a slow spell of the machine hits all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import openvino as ov

from instance_segmentation.ir.session import compile_ir

NAN = float("nan")


@dataclass(frozen=True)
class Contender:
    """One way to run a network.

    Attributes:
        name: For the table.
        call: Detects in one prepared image.
        stream: Detects in a given number of images, several at a time where the runtime can.
        size_mb: Of its files, in 10⁶ bytes; NaN when it has none.
        request: OpenVINO's request behind `call`, which knows the time of each layer; None for other runtimes.
    """

    name: str
    call: Callable[[], object]
    stream: Callable[[int], object]
    size_mb: float = NAN
    request: object = None


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image (median, 10th and 90th percentile) one at a time, and images per second several at a time."""

    name: str
    median: float
    low: float
    high: float
    images_per_second: float
    size_mb: float


def measure(contenders, runs, rounds=3):
    """Time every contender.

    Args:
        contenders: Contenders.
        runs: Timed calls of each. An untimed one precedes each: it brings the weights back into the caches, and meets threads of
            the runtime before that still wait for work. A round that is not counted warms up.
        rounds: Streams of `runs` images of each, of which the median counts.

    Returns:
        A Timing per contender.
    """
    seconds = np.array([[second_call(contender.call) for contender in contenders] for _ in range(runs + 1)])[1:]
    rates = np.array([[runs / timed(lambda: contender.stream(runs)) for contender in contenders]  # noqa: B023
                      for _ in range(rounds)])
    return [Timing(contender.name, *np.percentile(1000 * column, [50, 10, 90]), rate, contender.size_mb)
            for contender, column, rate in zip(contenders, seconds.T, np.median(rates, 0), strict=True)]


def runs_within(seconds, contender, most=15):
    """How many runs of a contender take so long: `most` of a fast one, 3 at least."""
    return max(3, min(most, int(seconds / second_call(contender.call))))


def second_call(call):
    """Seconds that a call takes right after another one."""
    call()
    return timed(call)


def timed(call):
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def openvino_contender(name, model, images, precision="f32", size_mb=NAN, options=None):
    """An OpenVINO model.

    Args:
        name: For the table.
        model: An ov.Model.
        images: Inputs [1, 3, H, W] float32, which take turns.
        precision: OpenVINO's hint for what is not quantised, `f32` or `bf16`.
        size_mb: Of its files.
        options: Further OpenVINO properties.
    """
    options, images = {"INFERENCE_PRECISION_HINT": precision, "PERF_COUNT": True, **(options or {})}, cycle(images)
    request = compile_ir(model, options=options).create_infer_request()
    several = compile_ir(model, options={**options, "PERFORMANCE_HINT": "THROUGHPUT"})

    def stream(count):
        queue = ov.AsyncInferQueue(several)
        for _ in range(count):
            queue.start_async({0: next(images)})
        queue.wait_all()
    return Contender(name, lambda: request.infer({0: next(images)}), stream, size_mb, request)
