"""Run a model on images, videos and cameras: show, save and measure what it finds. Needs no torch, except for checkpoints."""

import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from instance_segmentation.coco.findings import spelled
from instance_segmentation.inference import window
from instance_segmentation.inference.drawing import Look, draw, note
from instance_segmentation.inference.metrics import Metrics
from instance_segmentation.inference.model import load_for_many
from instance_segmentation.inference.monitors import Monitors
from instance_segmentation.inference.outputs import JsonLines, Output, fitted
from instance_segmentation.inference.pipeline import detect, detect_tiled
from instance_segmentation.inference.sources import open_source
from instance_segmentation.inference.tracking import IouTracker
from instance_segmentation.report import progress, say


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
        writer = output and stack.enter_context(Output(output, source.fps, output_limit, single=source.kind == "image",
                                                       inputs=source.files))
        lines = save_json and stack.enter_context(JsonLines(save_json, _read_files(source, model, labels, config)))
        frames = Frames(Look(show_boxes, show_scores, line_px=line_width, text_scale=text_size), Monitors(utilization_monitors),
                        tracker=None if no_track or not source.moving else IouTracker(), table=raw_output_message, lines=lines,
                        writer=writer, resolution_wh=output_resolution, rates=source.moving if show_fps is None else show_fps,
                        delay=None if no_show or not _can_show() else delay)
        detector = load_for_many(model, adapter=adapter, trust_checkpoint=trust_checkpoint, config=config, device=device,
                                 num_streams=num_streams, num_threads=num_threads, labels=labels, prob_threshold=prob_threshold,
                                 layout=layout, **loading)
        tell_threshold(detector)
        stack.callback(_tell, frames)
        show = stack.enter_context(progress("Detecting"))
        found = (detect_tiled(source.pictures, detector, frames.metrics, tile, overlap) if tile
                 else detect(source.pictures, detector, frames.metrics, num_infer_requests))
        for frame, prediction in found:
            if frames.take(frame, prediction):
                break
            if source.count is None and frames.has_no_more_to_do(loop):
                say("", f"The {spelled(output_limit, 'frame')} of -limit are saved, and nothing else is shown or written: done")
                break
            show(frames.metrics.frames, source.count)
    return frames.metrics


def _read_files(source, model, *others):
    """Every file that a run reads."""
    path = Path(str(model))
    return (*source.files, path, path.with_suffix(".bin"), path.with_suffix(".xml"), *(name for name in others if
                                                                                       isinstance(name, (str, Path))))


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
        objects: Number of detections of each class.
        tracks: Ids of those that were followed.
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
    objects: Counter = field(default_factory=Counter)
    tracks: set = field(default_factory=set)

    def take(self, frame, prediction):
        """Do it all for one frame; returns whether the user ended the run."""
        if self.tracker:
            with self.metrics.stage("Postprocessing"):
                prediction = self.tracker(replace(prediction, image_bgr=frame.image))
        if prediction.track_ids is not None:
            self.tracks.update(prediction.track_ids.tolist())
        self.objects.update(prediction.names())
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

    def has_no_more_to_do(self, loop):
        """Whether further frames would go nowhere: all that may be saved are, and nothing else is shown or written.

        Args:
            loop: The same pictures come again, so nothing new would be written as JSON either.
        """
        full = self.writer and self.writer.limit and self.writer.written >= self.writer.limit
        return bool(full and self.delay is None and not self.table and (loop or not self.lines))

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


def _tell(frames):
    """Say what was found, measured and written."""
    metrics, writer = frames.metrics, frames.writer
    if not metrics.frames:
        return
    say("Found", _found(frames))
    say("Metrics", f"{spelled(metrics.frames, 'frame')}, milliseconds are averages per frame")
    for name, text in metrics.report():
        say("", f"{name + ':':<16} {text:>10}")
    if writer:
        more = f"; -limit {writer.limit} leaves the others out, -limit 0 saves all" if metrics.frames > writer.written else ""
        say("Output", f"{writer.path}, {spelled(writer.written, 'frame')}{more}")


def _found(frames):
    """`70 objects in 20 frames: 50 cat, 20 dog; followed as 4 tracks`."""
    text = f"{spelled(frames.objects.total(), 'object')} in {spelled(frames.metrics.frames, 'frame')}"
    if frames.objects:
        text += ": " + ", ".join(f"{number:,} {name}" for name, number in frames.objects.most_common())
    return text + (f"; followed as {spelled(len(frames.tracks), 'track')}" if frames.tracks else "")
