"""PixelLib's class for instance segmentation, over any model of this tool: programs written for it run with another import line.

    from pixellib.torchbackend.instance import instanceSegmentation      becomes
    from instance_segmentation.pixellib import instanceSegmentation      (and `import pixellib` goes)

Names and parameters are PixelLib's (https://github.com/ayoolaolafenwa/PixelLib), which is why they look unlike the rest.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.engine.class_transfer import same_classes
from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.inference import window
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.masks import mask_crop
from instance_segmentation.inference.model import load_model
from instance_segmentation.inference.outputs import Output, write_image
from instance_segmentation.inference.sources import open_source, source_of

CONFIDENCE = {None: 0.5, "fast": 0.3, "rapid": 0.2}  # PixelLib's, by speed


@dataclass(frozen=True)
class Options:
    """What all methods that segment take, by name.

    Attributes:
        segment_target_classes: Of `select_target_classes`; all classes when None.
        show_bboxes: Draw boxes with names and scores, not only masks.
        extract_segmented_objects: Cut the objects out of the image, on black.
        extract_from_box: Cut out the whole box instead.
        save_extracted_objects: Also write them, as segmented_object_1.jpg, … or object_extract1.jpg, …
        mask_points_values: Give masks as points of their outlines instead of pixels.
        text_thickness, box_thickness: In pixels.
        text_size: 0.6 is small.
    """

    segment_target_classes: dict | None = None
    show_bboxes: bool = False
    extract_segmented_objects: bool = False
    extract_from_box: bool = False
    save_extracted_objects: bool = False
    mask_points_values: bool = False
    text_thickness: int = 1
    text_size: float = 0.6
    box_thickness: int = 2


class instanceSegmentation:
    """Segment images, folders, videos and cameras with a few lines.

    Every method that segments returns (results, output), or a list of each: results is a dict of what was found, the surest
    object first, and output the image with it drawn in, (H, W, 3) uint8 BGR. The keys of results:

        boxes              (N, 4) int64, x1 y1 x2 y2 in pixels
        class_ids          (N,) int64 from 0
        class_names        list of N names
        object_counts      Counter of names
        scores             (N,) float32, 0 to 100
        masks              (H, W, N) bool; with `mask_points_values` a list of N lists of outlines, (points, 2) int x y
        extracted_objects  list of N images uint8 BGR; empty unless objects are extracted
    """

    def __init__(self):
        self.model = None

    def load_model(self, model_path, confidence=None, detection_speed=None, network_backbone="resnet50"):
        """Load a model, any that `instance_segmentation.api.load_model` takes.

        Args:
            model_path: .xml, .onnx or .pth.
            confidence: Lowest score that counts, in [0, 1]; 0.5 when None, 0.3 with `fast` and 0.2 with `rapid`.
            detection_speed: `fast` or `rapid`, see `inference.speeds`.
            network_backbone: Of no effect, for the file knows its network.

        Raises:
            WeightsError: It cannot be loaded, or not be made faster.
        """
        if detection_speed not in CONFIDENCE:
            raise WeightsError(f"detection_speed={detection_speed!r}: expected 'fast' or 'rapid'")
        threshold = CONFIDENCE[detection_speed] if confidence is None else confidence
        self.model = load_model(model_path, LoadOptions(threshold=threshold, speed=detection_speed))

    def select_target_classes(self, **names):
        """Choose classes: `select_target_classes(person=True, traffic_light=True)`.

        Returns:
            Each class of the model → "valid" or "invalid".

        Raises:
            WeightsError: The model knows no such class.
        """
        classes = self._loaded().classes
        wanted = [name for name, on in names.items() if on]
        places = same_classes(classes, wanted)
        unknown = [name for name, place in zip(wanted, places, strict=True) if place is None]
        if unknown:
            raise WeightsError(f"select_target_classes: the model knows no {', '.join(unknown)}; it knows: {', '.join(classes)}")
        return {name: "valid" if place in places else "invalid" for place, name in enumerate(classes)}

    def segmentImage(self, image_path, *, output_image_name=None, verbose=None, **options):
        """Segment an image file; `options` as in `Options`."""
        return self._segment(str(image_path), output_image_name, verbose, options)

    def segmentFrame(self, frame, *, output_image_name=None, verbose=None, **options):
        """Segment a frame, (H, W, 3) uint8 BGR; `options` as in `Options`."""
        return self._segment(frame, output_image_name, verbose, options)

    def segmentBatch(self, input_folder, *, output_folder_name=None, verbose=None, **options):
        """Segment all images of a folder, by name; extracted objects of a.jpg go to a_extracts/ beside it.

        Args:
            input_folder: With images.
            output_folder_name: Where images with what was found are written, under their own names.
            verbose: Say which image it is.
            options: As in `Options`.

        Returns:
            A list of results and a list of outputs.
        """
        options, pairs = Options(**options), []
        for found in self._loaded().predict(str(input_folder)):
            if verbose is not None:
                print(f"Processing {found.source}...")
            pairs.append(results_of(found, options, Path(input_folder) / f"{Path(found.source).stem}_extracts"))
            if output_folder_name is not None:
                write_image(Path(output_folder_name) / found.source, pairs[-1][1])
        return [results for results, _ in pairs], [output for _, output in pairs]

    def process_video(self, video_path, *, output_video_name=None, frames_per_second=None, **options):
        """Segment a video; extracted objects go to VIDEO_extracts/FRAME/.

        Args:
            video_path: A video.
            output_video_name: .mp4 or .avi to write.
            frames_per_second: Of the written video; the input's own when None.
            options: As in `Options`.

        Returns:
            Results and output of the last frame.
        """
        folder, began = Path(video_path).with_name(f"{Path(video_path).stem}_extracts"), time.perf_counter()
        number, last = self._process(open_source(video_path), folder, Options(**options), output_video_name, frames_per_second)
        print(f"Processed {number} frames in {time.perf_counter() - began:.1f} seconds")
        return last

    def process_camera(self, cam, *, output_video_name=None, frames_per_second=None, show_frames=None, frame_name=None,
                       verbose=None, check_fps=False, **options):
        """Segment what a camera shows until it ends, or q is pressed; extracted objects go to camera_extracts/FRAME/.

        Args:
            cam: An opened cv2.VideoCapture; it is released at the end.
            output_video_name, frames_per_second: As in `process_video`.
            show_frames: Show the frames in a window.
            frame_name: The window's title.
            verbose: Say how many frames there were.
            check_fps: Say how many frames per second there were.
            options: As in `Options`.

        Returns:
            Results and output of the last frame.
        """
        if show_frames and (reason := window.why_no_window()):
            raise MediaError(f"show_frames: {reason}; leave it out, and write a video with output_video_name")
        title, began = (frame_name or window.TITLE) if show_frames else None, time.perf_counter()
        number, last = self._process(source_of(cam), Path("camera_extracts"), Options(**options), output_video_name,
                                     frames_per_second, title)
        seconds = time.perf_counter() - began
        if check_fps:
            print(f"{number / seconds:.1f} frames per second")
        if verbose is not None:
            print(f"Processed {number} frames in {seconds:.1f} seconds")
        return last

    def _loaded(self):
        if self.model is None:
            raise WeightsError("no model is loaded; call load_model first")
        return self.model

    def _segment(self, image, output_image_name, verbose, options):
        options = Options(**options)
        if verbose is not None:
            print("Processing image...")
        results, output = results_of(self._loaded()(image), options, Path())
        if output_image_name is not None:
            write_image(output_image_name, output)
        return results, output

    def _process(self, source, folder, options, path, fps, title=None):
        """Number of frames, and results and output of the last one."""
        with ExitStack() as stack:
            writer = path and stack.enter_context(Output(path, fps or source.fps))
            for number, found in enumerate(self._loaded().predict(source), 1):
                last = results_of(found, options, folder / f"{number:06}")
                if writer:
                    writer.write(last[1])
                if title and window.show(last[1], title=title) in window.QUIT:
                    break
        return number, last


def results_of(found, options, folder):
    """The results and the output of a Prediction, as instanceSegmentation describes them.

    Args:
        found: A Prediction with its image.
        options: Options.
        folder: Where extracted objects are written.
    """
    if options.segment_target_classes is not None:
        found = found.of_classes([name for name, state in options.segment_target_classes.items() if state == "valid"])
    masks = [outlines(rle) for rle in found.rles] if options.mask_points_values else found.masks().transpose(1, 2, 0)
    extracts = found.crops("box" if options.extract_from_box else "mask") if options.extract_segmented_objects else []
    if options.save_extracted_objects:
        name = "object_extract{}.jpg" if options.extract_from_box else "segmented_object_{}.jpg"
        for number, extract in enumerate(extracts, 1):
            if extract.size:
                write_image(folder / name.format(number), extract)
    results = dict(boxes=found.boxes.astype(np.int64), class_ids=found.labels, class_names=found.names(),
                   object_counts=found.count(), scores=np.rint(100 * found.scores), masks=masks, extracted_objects=extracts)
    return results, found.draw(boxes=options.show_bboxes, names=options.show_bboxes, line_px=options.box_thickness,
                               text_scale=options.text_size, text_px=options.text_thickness)


def outlines(rle):
    """Outlines of a mask, holes included: arrays (points, 2) int, x and y of the mask's outermost pixels."""
    mask, corner = mask_crop(rle)
    contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0] if mask.size else ()
    return [contour[:, 0] + corner for contour in contours]
