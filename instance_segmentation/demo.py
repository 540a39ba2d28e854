"""Run a model on images, videos and cameras: show, save and measure what it finds. Needs no torch, except for checkpoints."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from instance_segmentation.inference import window
from instance_segmentation.inference.drawing import Look, draw, note
from instance_segmentation.inference.metrics import Metrics
from instance_segmentation.inference.model import load_for_many
from instance_segmentation.inference.monitors import Monitors
from instance_segmentation.inference.outputs import JsonLines, Output, fitted
from instance_segmentation.inference.pipeline import detect, detect_tiled
from instance_segmentation.inference.sources import open_source
from instance_segmentation.inference.tracking import IouTracker
from instance_segmentation.report import say


def demo(model, source, *, adapter="openvino", device="CPU", labels=None, prob_threshold=None, no_track=False, show_scores=False,
         show_boxes=False, layout=None, num_infer_requests=0, num_streams="", num_threads=None, loop=False, output=None,
         output_limit=1000, no_show=False, output_resolution=None, utilization_monitors="", raw_output_message=False,
         save_json=None, line_width=None, text_size=None, delay=1, show_fps=None, tile=None, overlap=0.25, trust_checkpoint=False,
         config=None, **loading):
    """Detect in every picture of a source.

    Args:
        model: .xml, .bin, .onnx, .pth, or with the adapter `ovms` HOST:PORT/models/NAME[:VERSION].
        source: Image, folder, video, camera's number or URL; or a list of images and folders.
        adapter: `openvino` or `ovms`.
        device, num_streams, num_threads, num_infer_requests: How OpenVINO runs; 0, None and "" leave it the choice.
        labels: Text file with class names, needed for models that do not know theirs; or a tuple of names, just for those.
        prob_threshold: Lowest score that counts; when None the model's own, of each class, or 0.5.
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
        show_fps: Write frames per second into the pictures; on videos and cameras when None.
        tile, overlap: Detect in tiles of this many pixels that overlap by this share; None: in whole pictures.
        trust_checkpoint: Unpickle arbitrary objects of a checkpoint.
        config: A model.py, for checkpoints that do not know their network.
        loading: How images get into the network: `fit_max` (shorter, longer side) or `fit_window` (height, width) in pixels,
            `mean_pixel` (b, g, r), and what else `LoadOptions.of_flags` knows.

    Returns:
        The run's Metrics.

    Raises:
        MediaError: The input cannot be read, or an output not be written; outputs are complete up to there.
        WeightsError: The model cannot be loaded, or its classes have no names.
    """
    source = open_source(source, loop)
    with ExitStack() as stack:
        writer = output and stack.enter_context(Output(output, source.fps, output_limit, single=source.kind == "image"))
        lines = save_json and stack.enter_context(JsonLines(save_json))
        frames = Frames(Look(show_boxes, show_scores, line_px=line_width, text_scale=text_size), Monitors(utilization_monitors),
                        tracker=None if no_track or not source.moving else IouTracker(), table=raw_output_message, lines=lines,
                        writer=writer, resolution_wh=output_resolution, rates=source.moving if show_fps is None else show_fps,
                        delay=None if no_show or not _can_show() else delay)
        detector = load_for_many(model, adapter=adapter, trust_checkpoint=trust_checkpoint, config=config, device=device,
                                 num_streams=num_streams, num_threads=num_threads, labels=labels, prob_threshold=prob_threshold,
                                 layout=layout, **loading)
        tell_threshold(detector)
        stack.callback(_tell, frames.metrics, writer)
        found = (detect_tiled(source.pictures, detector, frames.metrics, tile, overlap) if tile
                 else detect(source.pictures, detector, frames.metrics, num_infer_requests))
        for frame, prediction in found:
            if frames.take(frame, prediction):
                break
    return frames.metrics


@dataclass(frozen=True)
class Frames:
    """What becomes of each frame and what was found on it: a track id, a table, JSON, a picture in a file and a window.

    Attributes:
        look: How it is drawn.
        monitors: Drawn into the picture.
        tracker: Gives ids, or None.
        table: Print a table.
        lines: JsonLines or None.
        writer: Output or None.
        resolution_wh: (width, height) in pixels that pictures are scaled to fit in, or None.
        rates: Write frames per second and latency into the picture.
        delay: Milliseconds that the picture stays in the window; None opens no window.
        metrics: What was measured.
    """

    look: Look
    monitors: Monitors
    tracker: IouTracker | None
    table: bool
    lines: JsonLines | None
    writer: Output | None
    resolution_wh: tuple | None
    rates: bool
    delay: int | None
    metrics: Metrics = field(default_factory=Metrics)

    def take(self, frame, prediction):
        """Do it all for one frame; returns whether the user ended the run."""
        if self.tracker:
            with self.metrics.stage("Postprocessing"):
                prediction = self.tracker(replace(prediction, image_bgr=frame.image))
        if self.table:
            print_raw(frame.index, prediction)
        if self.lines:
            self.lines.write(frame.index, frame.name, prediction)
        shown = self.delay is not None
        if shown or self.writer:
            with self.metrics.stage("Rendering"):
                picture = self._render(frame.image, prediction)
        self.metrics.finished(frame.began)
        if self.writer:
            self.writer.write(picture)
        return shown and _quits(window.show(picture, self.delay), self.monitors)

    def _render(self, image, prediction):
        picture = draw(image, prediction, self.look)
        if self.resolution_wh:
            picture = fitted(picture, self.resolution_wh[::-1])
        now = self.metrics.now() if self.rates else None
        if now:
            note(picture, [f"FPS: {now[0]:.1f}", f"Latency: {1000 * now[1]:.1f} ms"])
        self.monitors.draw(picture)
        return picture


def _can_show():
    """Whether a window can be opened; says why not."""
    reason = window.why_no_window()
    if reason:
        print(f"Warning: {reason}, so nothing is shown, as with --no_show", file=sys.stderr)
    return not reason


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


def tell_threshold(detector):
    """Say from which score detections are shown, and who says so."""
    scores = detector.threshold
    if isinstance(scores, tuple):
        scores = ", ".join(f"{score:.3g} {name}" for score, name in zip(scores, detector.classes, strict=True))
    say("Threshold", f"score ≥ {scores}: {detector.threshold_origin}")


def _tell(metrics, writer):
    """Say what was measured and written."""
    if not metrics.frames:
        return
    say("Metrics", f"{metrics.frames} frames, milliseconds are averages per frame")
    for name, text in metrics.report():
        say("", f"{name + ':':<16} {text:>10}")
    if writer:
        say("Output", f"{writer.path}, {writer.written} frames")
