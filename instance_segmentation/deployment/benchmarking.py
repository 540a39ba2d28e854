"""Compare checkpoints and exported models of one network: latency, throughput, size, and where the time goes."""

from collections import Counter
from pathlib import Path

import numpy as np

from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.report import say, table


def benchmark(models, *, image=None, runs=15, profile=False, trust_checkpoint=False):
    """Print a table of latency, throughput and size; the first model is what the others are compared with.

    Args:
        models: .pth, .xml, .bin or .onnx files of one network. A checkpoint alone is compared with its IR, made on the fly.
        image: A photo; seeded noise without one. Time depends on how many objects are found.
        runs: How often each runs.
        profile: Also list where the time of each OpenVINO model goes, by layer type.
        trust_checkpoint: Unpickle arbitrary objects of checkpoints.

    Returns:
        A list of `ir.speed.Timing`.

    Raises:
        WeightsError, MediaError: A file cannot be read, or the models take inputs of different size.
    """
    from instance_segmentation.ir.speed import measure
    paths = [Path(model) for model in models]
    size = _common_size(paths)
    contenders = [contender for path in paths for contender in _contenders(path, image, size, trust_checkpoint, len(paths) == 1)]
    timings = measure(contenders, runs)
    tell(timings, f"{image or 'noise'}" + (f" at {size[0]}×{size[1]}" if size else "") + f": {runs} runs each, taking turns")
    for contender in contenders if profile else ():
        if contender.request:
            tell_layers(contender.name, contender.request)
    return timings


def tell(timings, title):
    """Print the table."""
    first = timings[0]
    rows = [(item.name, f"{item.median:.1f}", f"{item.low:.1f}–{item.high:.1f}", f"{first.median / item.median:.2f}x",
             f"{item.images_per_second:.1f}", f"{item.images_per_second / first.images_per_second:.2f}x",
             "" if np.isnan(item.size_mb) else f"{item.size_mb:.1f}") for item in timings]
    table(title, ("", "ms", "10–90 %", "faster", "images/s", "more", "MB"), rows)


def _common_size(paths):
    """(height, width) of the exported models' input, at which checkpoints run too; None when there are only checkpoints."""
    sizes = {path: _input_size(path) for path in paths if path.suffix != ".pth"}
    if len(set(sizes.values())) > 1:
        raise WeightsError("these models take inputs of different size, so their times say nothing about each other: "
                           + ", ".join(f"{path} {height}×{width}" for path, (height, width) in sizes.items())
                           + ". Export them alike (export.py --input-size)")
    return next(iter(sizes.values()), None)


def _input_size(path):
    if path.suffix == ".onnx":
        from instance_segmentation.ir.onnx_session import read_onnx
        return read_onnx(path)[1].input_size
    from instance_segmentation.ir.info import read_ir
    return read_ir(path)[1].input_size


def _contenders(path, image, size, trust, alone):
    """Yield the ways to run a file; a checkpoint that is alone is followed by its IR."""
    if path.suffix == ".pth":
        from instance_segmentation.engine.network import load_network
        model = load_network(path, trust=trust)
        model.input_size = size or model.input_size
        pixels = prepared(image, model.input_size)
        yield eager(model, pixels, path.stat().st_size / 1e6)
        if alone:
            from instance_segmentation.ir.graph import build_ir
            yield from openvino_pair("IR FP32", build_ir(model), pixels)
        return
    if path.suffix == ".onnx":
        yield onnx_runtime(path, image)
        return
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.preprocessing import covering_input
    model, info = read_ir(path)
    model = covering_input(model) if len(model.inputs) > 1 else model
    size = sum(path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6
    yield from openvino_pair(f"IR {(info.origin or {}).get('precision', 'FP32')}", model, prepared(image, info.input_size), size)


def prepared(image, size_hw):
    """The photo, or noise, as [1, 3, H, W] float32 BGR in 0…255."""
    import cv2
    pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8) if image is None else cv2.imread(str(image))
    if pixels is None:
        raise MediaError(f"--image {image}: cannot be read as an image")
    return cv2.resize(pixels, size_hw[::-1]).transpose(2, 0, 1)[None].astype(np.float32)


def onnx_runtime(path, image):
    """An exported ONNX model in ONNX Runtime."""
    from instance_segmentation.ir.onnx_session import read_onnx
    from instance_segmentation.ir.speed import Contender
    run, info = read_onnx(path)
    pixels = prepared(image, info.input_size)
    return Contender("ONNX Runtime", lambda: run(pixels), lambda count: [run(pixels) for _ in range(count)],
                     path.stat().st_size / 1e6)


def eager(model, pixels, size_mb=float("nan")):
    """The checkpoint's network in PyTorch, layer by layer as eval.py runs it."""
    import torch

    from instance_segmentation.ir.parity import run_checkpoint
    from instance_segmentation.ir.speed import Contender
    tensor = torch.from_numpy(pixels[0])
    return Contender("PyTorch eager", lambda: run_checkpoint(model, tensor),
                     lambda count: [run_checkpoint(model, tensor) for _ in range(count)], size_mb)


def openvino_pair(name, model, pixels, size_mb=float("nan")):
    """An OpenVINO model as it is, and with the BF16 hint for what is left in float32."""
    from instance_segmentation.ir.speed import openvino_contender
    return [openvino_contender(name, model, [pixels], "f32", size_mb),
            openvino_contender(f"{name}, BF16 hint", model, [pixels], "bf16", size_mb)]


def profile(model, source, **loading):
    """Print where the time of an exported model goes, by layer type, on the first picture of a source.

    Args:
        model: An .xml.
        source: As of `demo`.
        loading: As of `demo`.

    Raises:
        WeightsError, MediaError: One of them cannot be read.
    """
    from instance_segmentation.inference.exported import LoadOptions, load_exported
    from instance_segmentation.inference.sources import open_source
    detector = load_exported(model, LoadOptions.of_flags(properties={"PERF_COUNT": True}, **loading))
    inputs, _ = detector.prepare(next(open_source(source).pictures)[1])
    request = detector.run.create_infer_request()
    for _ in range(2):  # the first one warms up
        request.infer(inputs)
    tell_layers(str(model), request)


def complexity(weights, *, config=None, by_layer=False, source=None, **loading):
    """Print the floating-point operations of a checkpoint's network for one image.

    Args:
        weights: A .pth.
        config: A model.py, for checkpoints that do not know their network.
        by_layer: List them for every module, too.
        source: As of `demo`; with `fit_max` its first picture decides how large the network's input is.
        loading: How images get into the network, as of `demo`; without a size there the network's own input counts.

    Returns:
        Units of 10⁹ operations, as of `engine.complexity.complexity_gflops`.

    Raises:
        WeightsError, MediaError: The checkpoint or the picture cannot be read.
    """
    from instance_segmentation.engine import register
    register("Counting operations")
    from instance_segmentation.engine.complexity import complexity_table
    from instance_segmentation.engine.network import load_network
    from instance_segmentation.inference.exported import LoadOptions
    network = load_network(weights, config=config)
    size_hw = size_that_ran(network, LoadOptions.of_flags(**loading), source, weights)
    gflops, text = complexity_table(network, size_hw)
    say("Complexity", f"{gflops} GFLOPs at {size_hw[0]}×{size_hw[1]}")
    if by_layer:
        say("", f"\n{text}")
    return gflops


def size_that_ran(network, options, source, weights):
    """Height and width of a checkpoint's input under these LoadOptions; where each image has its own, the first picture's."""
    if not options.limits:
        return tuple(network.input_size)
    from instance_segmentation.inference.model import detector_of
    from instance_segmentation.inference.sources import open_source
    resize = detector_of(network, options, weights).resize
    return tuple(resize.size_hw or resize.place(next(open_source(source).pictures)[1].shape[:2])[2])


def tell_layers(title, request):
    """Print where the time of an OpenVINO request's last run went, by layer type and kernel."""
    total, count = Counter(), Counter()
    for item in request.profiling_info:
        total[item.node_type, item.exec_type] += 1000 * item.real_time.total_seconds()
        count[item.node_type, item.exec_type] += 1
    whole = sum(total.values())
    table(title, ("layer type", "kernel", "layers", "ms", "%"),
          [(*key, count[key], f"{time:.1f}", f"{100 * time / whole:.0f}") for key, time in total.most_common(10)])
