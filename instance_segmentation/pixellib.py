"""PixelLib's class for instance segmentation, over any model of this tool: programs written for it run with another import line.

    from pixellib.torchbackend.instance import instanceSegmentation      becomes
    from instance_segmentation.pixellib import instanceSegmentation      (and `import pixellib` goes)

Unchanged programs run by `python -m instance_segmentation.compat PROGRAM`.

Names and parameters are PixelLib's (https://github.com/ayoolaolafenwa/PixelLib), which is why they look unlike the rest.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.coco.findings import did_you_mean, spelled
from instance_segmentation.engine.class_transfer import same_classes
from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.inference import window
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.masks import mask_crop
from instance_segmentation.inference.model import load_model
from instance_segmentation.inference.outputs import Output, write_image
from instance_segmentation.inference.sources import open_source, source_of
from instance_segmentation.report import printable
from instance_segmentation.writing import Inputs

# Each method's options by position, in PixelLib 0.7.1's order
_LOOK = ("text_thickness", "text_size", "box_thickness")
_CUT = ("extract_segmented_objects", "extract_from_box", "save_extracted_objects")
_IMAGE = ("segment_target_classes", "show_bboxes", *_CUT, "mask_points_values", "output_image_name", *_LOOK, "verbose")
_BATCH = ("show_bboxes", "segment_target_classes", *_CUT, "mask_points_values", "output_folder_name", *_LOOK, "verbose")
_VIDEO = ("show_bboxes", "segment_target_classes", *_CUT, *_LOOK, "mask_points_values", "output_video_name", "frames_per_second")
_CAMERA = (*_VIDEO, "show_frames", "frame_name", "verbose", "check_fps")
CONFIDENCE = {None: 0.5, "fast": 0.3, "rapid": 0.2}  # PixelLib's, by speed


@dataclass(frozen=True)
class Options:
    """What all methods that segment take.

    Attributes:
        segment_target_classes: Of `select_target_classes`; all classes when None.
        show_bboxes: Draw boxes with names and scores, not only masks; `show_bbox` is the same.
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
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise WeightsError(f"confidence={confidence!r}: expected a number from 0 to 1; 0.3 is what "
                               "results call a score of 30")
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

    def segmentImage(self, image_path, *positional, **options):
        """Segment an image file.

        Args:
            image_path: The file.
            positional: Options by position, in the order of PixelLib.
            options: As in `Options`; `output_image_name`, an image to write; and `verbose`, say that it is processed.
        """
        return self._segment(str(image_path), given("segmentImage", _IMAGE, positional, options))

    def segmentFrame(self, frame, *positional, **options):
        """Segment a frame, (H, W, 3) uint8 BGR; options as of `segmentImage`."""
        return self._segment(frame, given("segmentFrame", _IMAGE, positional, options))

    def segmentBatch(self, input_folder, *positional, **options):
        """Segment all images of a folder, by name; extracted objects of a.jpg go to a_extracts/ beside it.

        Args:
            input_folder: With images.
            positional: Options by position, in the order of PixelLib.
            options: As in `Options`; `output_folder_name`, where images with what was found are written, under their own names;
                and `verbose`, say which image it is.

        Returns:
            A list of results and a list of outputs.
        """
        rest, options = given("segmentBatch", _BATCH, positional, options)
        folder, source, pairs = rest.get("output_folder_name"), open_source(input_folder), []
        inputs = Inputs(source.files)
        for file in source.files if folder is not None else ():
            inputs.refuse(Path(folder) / file.name)
        for found in self._loaded().predict(source):
            if rest.get("verbose") is not None:
                print(printable(f"Processing {found.source}..."))
            pairs.append(results_of(found, options, Path(input_folder) / f"{Path(found.source).stem}_extracts"))
            if folder is not None:
                write_image(Path(folder) / found.source, pairs[-1][1], inputs)
        return [results for results, _ in pairs], [output for _, output in pairs]

    def process_video(self, video_path, *positional, **options):
        """Segment a video; extracted objects go to VIDEO_extracts/FRAME/.

        Args:
            video_path: A video.
            positional: Options by position, in the order of PixelLib.
            options: As in `Options`; `output_video_name`, .mp4 or .avi to write; and `frames_per_second` of that, the input's own
                when None.

        Returns:
            Results and output of the last frame.
        """
        rest, options = given("process_video", _VIDEO, positional, options)
        folder, began = Path(video_path).with_name(f"{Path(video_path).stem}_extracts"), time.perf_counter()
        number, last = self._process(open_source(video_path), folder, options, rest)
        print(f"Processed {spelled(number, 'frame')} in {time.perf_counter() - began:.1f} seconds")
        return last

    def process_camera(self, cam, *positional, **options):
        """Segment what a camera shows until it ends, or q is pressed; extracted objects go to camera_extracts/FRAME/.

        Args:
            cam: An opened cv2.VideoCapture; it is released at the end.
            positional: Options by position, in the order of PixelLib.
            options: As in `Options` and `process_video`; `show_frames`, show the frames in a window; `frame_name`, its title;
                `verbose`, say how many frames there were; and `check_fps`, how many per second.

        Returns:
            Results and output of the last frame.
        """
        rest, options = given("process_camera", _CAMERA, positional, options)
        show = rest.get("show_frames")
        if show and (reason := window.why_no_window()):
            raise MediaError(f"show_frames: {reason}; leave it out, and write a video with output_video_name")
        title, began = (rest.get("frame_name") or window.TITLE) if show else None, time.perf_counter()
        number, last = self._process(source_of(cam), Path("camera_extracts"), options, rest, title)
        seconds = time.perf_counter() - began
        if rest.get("check_fps"):
            print(f"{number / seconds:.1f} frames per second")
        if rest.get("verbose") is not None:
            print(f"Processed {spelled(number, 'frame')} in {seconds:.1f} seconds")
        return last

    def _loaded(self):
        if self.model is None:
            raise WeightsError("no model is loaded; call load_model first")
        return self.model

    def _segment(self, image, rest_and_options):
        (rest, options), inputs = rest_and_options, Inputs([image] if isinstance(image, str) else [])
        name = rest.get("output_image_name")
        if name is not None:
            inputs.refuse(name)
        if rest.get("verbose") is not None:
            print("Processing image...")
        results, output = results_of(self._loaded()(image), options, Path(), inputs)
        if name is not None:
            write_image(name, output, inputs)
        return results, output

    def _process(self, source, folder, options, rest, title=None):
        """Number of frames, and results and output of the last one."""
        path, fps = rest.get("output_video_name"), rest.get("frames_per_second")
        with ExitStack() as stack:
            writer = path and stack.enter_context(Output(path, fps or source.fps, inputs=source.files))
            for number, found in enumerate(self._loaded().predict(source), 1):  # no frame at all is an error of the source
                last = results_of(found, options, folder / f"{number:06}")
                if writer:
                    writer.write(last[1])
                if title and window.show(last[1], title=title) in window.QUIT:
                    break
        return number, last


def given(method, names, positional, options):
    """Sort what a method was given.

    Args:
        method: Its name, for errors.
        names: Its options in the order of PixelLib.
        positional, options: What it was given by position and by name.

    Returns:
        A dict of the method's own options, and Options.

    Raises:
        TypeError: There are too many, or one is unknown or given twice.
    """
    if len(positional) > len(names):
        raise TypeError(f"{method}() takes {len(names)} options, got {len(positional)}")
    if "show_bbox" in options:
        options = options | dict(show_bboxes=options["show_bbox"])
        del options["show_bbox"]
    both = [name for name in names[:len(positional)] if name in options]
    unknown = [name for name in options if name not in names]
    if both or unknown:
        reason = f"got '{both[0]}' by position and by name" if both else (
            f"knows no option '{unknown[0]}'{did_you_mean(unknown[0], names)}; it knows {', '.join(names)}")
        raise TypeError(f"{method}() {reason}")
    together, common = dict(zip(names, positional, strict=False)) | options, {item.name for item in fields(Options)}
    return ({name: value for name, value in together.items() if name not in common},
            Options(**{name: value for name, value in together.items() if name in common}))


def results_of(found, options, folder, inputs=None):
    """The results and the output of a Prediction, as instanceSegmentation describes them.

    Args:
        found: A Prediction with its image.
        options: Options.
        folder: Where extracted objects are written.
        inputs: Inputs that must not be written over.
    """
    if options.segment_target_classes is not None:
        found = found.of_classes([name for name, state in options.segment_target_classes.items() if state == "valid"])
    masks = [outlines(rle) for rle in found.rles] if options.mask_points_values else found.masks().transpose(1, 2, 0)
    extracts = found.crops("box" if options.extract_from_box else "mask") if options.extract_segmented_objects else []
    if options.save_extracted_objects:
        name = "object_extract{}.jpg" if options.extract_from_box else "segmented_object_{}.jpg"
        for number, extract in enumerate(extracts, 1):
            if extract.size:
                write_image(folder / name.format(number), extract, inputs)
    results = dict(boxes=found.boxes.astype(np.int64), class_ids=found.labels, class_names=found.names(),
                   object_counts=found.count(), scores=np.rint(100 * found.scores), masks=masks, extracted_objects=extracts)
    return results, found.draw(boxes=options.show_bboxes, names=options.show_bboxes, line_px=options.box_thickness,
                               text_scale=options.text_size, text_px=options.text_thickness)


def outlines(rle):
    """Outlines of a mask, holes included: arrays (points, 2) int, x and y of the mask's outermost pixels."""
    mask, corner = mask_crop(rle)
    contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0] if mask.size else ()
    return [contour[:, 0] + corner for contour in contours]
