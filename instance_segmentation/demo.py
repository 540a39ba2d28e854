"""Run a model on images, videos and cameras: show, save and measure what it finds. Needs no torch, except for checkpoints."""

import sys
from contextlib import ExitStack

from instance_segmentation.inference import window
from instance_segmentation.inference.drawing import Look, draw, note
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.metrics import Metrics
from instance_segmentation.inference.model import load_model
from instance_segmentation.inference.monitors import Monitors
from instance_segmentation.inference.outputs import JsonLines, Output, fitted
from instance_segmentation.inference.pipeline import detect, detect_tiled
from instance_segmentation.inference.sources import open_source
from instance_segmentation.inference.tracking import IouTracker
from instance_segmentation.ir.session import throughput_properties
from instance_segmentation.report import say


def demo(model, source, *, adapter="openvino", device="CPU", labels=None, prob_threshold=0.5, no_track=False, show_scores=False,
         show_boxes=False, layout=None, num_infer_requests=0, num_streams="", num_threads=None, loop=False, output=None,
         output_limit=1000, no_show=False, output_resolution=None, utilization_monitors="", raw_output_message=False,
         save_json=None, line_width=None, text_size=None, delay=1, fit_max=None, fit_window=None, mean_pixel=(),
         tile=None, overlap=0.25, trust_checkpoint=False):
    """Detect in every picture of a source.

    Args:
        model: .xml, .bin, .onnx, .pth, or with the adapter `ovms` HOST:PORT/models/NAME[:VERSION].
        source: Image, folder, video, camera's number or URL.
        adapter: `openvino` or `ovms`.
        device, num_streams, num_threads, num_infer_requests: How OpenVINO runs; 0, None and "" leave it the choice.
        labels: Text file with class names; needed for models that do not know theirs.
        prob_threshold: Lowest score that counts.
        no_track: Do not follow objects through a video.
        show_scores, show_boxes: Draw them.
        layout: Of the model's inputs, for example `[NHWC]`.
        loop: Start again at the end of the input, for ever.
        output, output_limit: Video or images to write, and how many frames at most (0: all).
        no_show: Open no window.
        output_resolution: (width, height) in pixels that pictures are scaled to fit in.
        utilization_monitors: Letters of `Monitors`.
        raw_output_message: Print a table of the detections of each frame.
        save_json: File for one JSON object per frame.
        line_width, text_size: Of what is drawn; they follow the resolution when None.
        delay: Milliseconds that each picture stays in the window, 0 until a key is pressed.
        fit_max, fit_window: Other ways of resizing: (shorter, longer side) or (height, width) in pixels.
        tile, overlap: Detect in tiles of this many pixels that overlap by this share; None: in whole pictures.
        mean_pixel: (b, g, r) to subtract for models that do not do it themselves.
        trust_checkpoint: Unpickle arbitrary objects of a checkpoint.

    Returns:
        The run's Metrics.

    Raises:
        MediaError: The input cannot be read, or an output not be written; outputs are complete up to there.
        WeightsError: The model cannot be loaded, or its classes have no names.
    """
    source, monitors = open_source(source, loop), Monitors(utilization_monitors)
    tracker = None if no_track or not source.moving else IouTracker()
    look, metrics = Look(show_boxes, show_scores, line_px=line_width, text_scale=text_size), Metrics()
    showing = not no_show and _can_show()
    with ExitStack() as stack:
        writer = output and stack.enter_context(Output(output, source.fps, output_limit, single=source.kind == "image"))
        lines = save_json and stack.enter_context(JsonLines(save_json))
        options = LoadOptions(
            labels, prob_threshold, device, throughput_properties(device, num_streams, num_threads), layout,
            "fit_max" if fit_max else "fit_to_window" if fit_window else None, fit_window, fit_max, mean_pixel)
        detector = load_model(model, options, adapter=adapter, trust_checkpoint=trust_checkpoint)
        found = (detect_tiled(source.pictures, detector, metrics, tile, overlap) if tile
                 else detect(source.pictures, detector, metrics, num_infer_requests))
        stack.callback(_tell, metrics, writer)
        for frame, prediction in found:
            if tracker:
                with metrics.stage("Postprocessing"):
                    prediction = tracker(prediction)
            if raw_output_message:
                print_raw(frame.index, prediction)
            if lines:
                lines.write(frame.index, frame.name, prediction)
            if showing or writer:
                with metrics.stage("Rendering"):
                    picture = _render(frame, prediction, look, output_resolution, monitors, metrics if source.moving else None)
            metrics.finished(frame.began)
            if writer:
                writer.write(picture)
            if showing and _quits(window.show(picture, delay), monitors):
                break
    return metrics


def _can_show():
    """Whether a window can be opened; says why not."""
    reason = window.why_no_window()
    if reason:
        print(f"Warning: {reason}, so nothing is shown, as with --no_show", file=sys.stderr)
    return not reason


def _render(frame, prediction, look, resolution_wh, monitors, metrics):
    """The picture that is shown and saved."""
    picture = draw(frame.image, prediction, look)
    if resolution_wh:
        picture = fitted(picture, resolution_wh[::-1])
    now = metrics and metrics.now()
    if now:
        note(picture, [f"FPS: {now[0]:.1f}", f"Latency: {1000 * now[1]:.1f} ms"])
    monitors.draw(picture)
    return picture


def _quits(key, monitors):
    """Obey a key; returns whether it ends the run."""
    if 0 <= key < 128:
        monitors.toggle(chr(key).lower())
    return key in window.QUIT


def print_raw(index, prediction):
    """Print a frame's detections as the Open Model Zoo demo does: class numbers from 1, boxes in pixels of the image."""
    print(f"  -------------------------- Frame # {index} --------------------------  ")
    print("  Class ID | Confidence |     XMIN |     YMIN |     XMAX |     YMAX ")
    for label, score, box in zip(prediction.labels + 1, prediction.scores, prediction.boxes, strict=True):
        print(f"{label:>10} | {score:>10f} | {box[0]:>8.2f} | {box[1]:>8.2f} | {box[2]:>8.2f} | {box[3]:>8.2f} ")


def _tell(metrics, writer):
    """Say what was measured and written."""
    if not metrics.frames:
        return
    say("Metrics", f"{metrics.frames} frames, milliseconds are averages per frame")
    for name, text in metrics.report():
        say("", f"{name + ':':<16} {text:>10}")
    if writer:
        say("Output", f"{writer.path}, {writer.written} frames")
