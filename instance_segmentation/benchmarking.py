"""Time checkpoints and exported models side by side: the same image, taking turns, in one run."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instance_segmentation.errors import MediaError
from instance_segmentation.report import table

NAN = float("nan")


@dataclass(frozen=True)
class Contender:
    """One way to run a network.

    Attributes:
        name: For the table.
        call: Detects in the prepared image once.
        stream: Detects in it `count` times, several at a time where the runtime can.
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
    """Milliseconds per image (median, 10th and 90th percentile) and images per second of one contender."""

    name: str
    median: float
    low: float
    high: float
    images_per_second: float
    size_mb: float


def benchmark(models, *, image=None, runs=15, profile=False, trust_checkpoint=False):
    """Print a table of latency, throughput and size; the first model is what the others are compared with.

    Args:
        models: .pth, .xml, .bin or .onnx files of one network. A checkpoint alone is compared with its IR, made on the fly.
        image: A photo; seeded noise without one. Time depends on how many objects are found.
        runs: How often each runs.
        profile: Also list where the time of each OpenVINO model goes, by layer type.
        trust_checkpoint: Unpickle arbitrary objects of checkpoints.

    Returns:
        A list of Timing.

    Raises:
        WeightsError, MediaError: A file cannot be read, or the models take inputs of different size.
    """
    paths = [Path(model) for model in models]
    contenders = [contender for path in paths for contender in _contenders(path, image, trust_checkpoint, len(paths) == 1)]
    timings = measure(contenders, runs)
    tell(timings, f"{image or 'noise'}: {runs} runs each, taking turns")
    for contender in contenders if profile else ():
        if contender.request:
            tell_layers(contender)
    return timings


def measure(contenders, runs):
    """Time every contender; they take turns, so that a slow spell of the machine hits all of them."""
    seconds = np.zeros((len(contenders), runs + 2))
    for run in range(runs + 2):  # the first two are not counted
        for index, contender in enumerate(contenders):
            seconds[index, run] = timed(contender.call)
    rates = np.array([[runs / timed(lambda: contender.stream(runs)) for contender in contenders] for _ in range(3)])  # noqa: B023
    return [Timing(contender.name, *np.percentile(1000 * row, [50, 10, 90]), rate, contender.size_mb)
            for contender, row, rate in zip(contenders, seconds[:, 2:], np.median(rates, 0), strict=True)]


def timed(call):
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def tell(timings, title):
    """Print the table."""
    first = timings[0]
    rows = [(item.name, f"{item.median:.1f}", f"{item.low:.1f}–{item.high:.1f}", f"{first.median / item.median:.2f}x",
             f"{item.images_per_second:.1f}", f"{item.images_per_second / first.images_per_second:.2f}x",
             "" if np.isnan(item.size_mb) else f"{item.size_mb:.1f}") for item in timings]
    table(title, ("", "ms", "10–90 %", "faster", "images/s", "more", "MB"), rows)


def _contenders(path, image, trust, alone):
    """Yield the ways to run a file; a checkpoint that is alone is followed by its IR."""
    if path.suffix == ".pth":
        from instance_segmentation.engine.network import load_network
        model = load_network(path, trust=trust)
        pixels = prepared(image, model.input_size)
        yield eager(model, pixels, path.stat().st_size / 1e6)
        if alone:
            from instance_segmentation.ir.graph import build_ir
            yield from openvino_pair("IR FP32", build_ir(model), pixels)
        return
    from instance_segmentation.ir.info import read_ir
    model, info = read_ir(path)
    size = sum(path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6
    yield from openvino_pair(f"IR {info.origin.get('precision', 'FP32')}", model, prepared(image, info.input_size), size)


def prepared(image, size_hw):
    """The photo, or noise, as [1, 3, H, W] float32 BGR in 0…255."""
    import cv2
    pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8) if image is None else cv2.imread(str(image))
    if pixels is None:
        raise MediaError(f"--image {image}: cannot be read as an image")
    return cv2.resize(pixels, size_hw[::-1]).transpose(2, 0, 1)[None].astype(np.float32)


def eager(model, pixels, size_mb=NAN):
    """The checkpoint's network in PyTorch, layer by layer as eval.py runs it."""
    import torch

    from instance_segmentation.ir.parity import run_checkpoint
    tensor = torch.from_numpy(pixels[0])
    return Contender("PyTorch eager", lambda: run_checkpoint(model, tensor),
                     lambda count: [run_checkpoint(model, tensor) for _ in range(count)], size_mb)


def openvino_pair(name, model, pixels, size_mb=NAN):
    """Yield an OpenVINO model as it is and with the BF16 hint for what is left in float32."""
    from instance_segmentation.ir.session import compile_ir
    for title, precision in ((name, "f32"), (f"{name}, BF16 hint", "bf16")):
        options = {"INFERENCE_PRECISION_HINT": precision, "PERF_COUNT": True}
        request = compile_ir(model, options=options).create_infer_request()
        several = compile_ir(model, options={**options, "PERFORMANCE_HINT": "THROUGHPUT"})
        yield Contender(title, lambda request=request: request.infer({0: pixels}),
                        lambda count, several=several: stream(several, pixels, count), size_mb, request)


def stream(compiled, pixels, count):
    """Run one image `count` times through OpenVINO's own queue."""
    import openvino as ov
    queue = ov.AsyncInferQueue(compiled)
    for _ in range(count):
        queue.start_async({0: pixels})
    queue.wait_all()


def tell_layers(contender):
    """Print where the time of an OpenVINO model goes, by layer type and kernel."""
    total, count = Counter(), Counter()
    for item in contender.request.profiling_info:  # of its last call
        total[item.node_type, item.exec_type] += 1000 * item.real_time.total_seconds()
        count[item.node_type, item.exec_type] += 1
    whole = sum(total.values())
    table(contender.name, ("layer type", "kernel", "layers", "ms", "%"),
          [(*key, count[key], f"{time:.1f}", f"{100 * time / whole:.0f}") for key, time in total.most_common(10)])
