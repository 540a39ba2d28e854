"""Where results go: videos, numbered pictures, JSON lines. Needs no torch."""

import json
import re
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.sources import SUFFIXES, check_name, quiet
from instance_segmentation.writing import Inputs

CODECS = {".avi": "MJPG", ".mp4": "mp4v"}


class Output:
    """A context manager that writes pictures: `x.avi` (Motion JPEG), `x.mp4`, `x_%03d.jpg`, or one `x.jpg`.

    Args:
        path: What to write.
        fps: Frames per second of a video.
        limit: Number of pictures that are written at most, 0 for all.
        single: There will be one picture only.
        inputs: Files that are being read; none of them is written over.

    Raises:
        MediaError: The name is of no such kind, is an input's, or the folder is missing.
    """

    def __init__(self, path, fps=None, limit=0, single=False, inputs=()):
        check_name(path)
        self.path, self.fps, self.limit, self.written, self.video = Path(path), fps or 30.0, limit, 0, None
        self.inputs, suffix = Inputs(inputs), self.path.suffix.lower()
        self.pattern = number_pattern(self.path.name) if suffix in SUFFIXES else None
        if suffix not in {*CODECS, *SUFFIXES}:
            raise MediaError(f"{path}: expected an output whose name ends in .avi, .mp4, or as that of an image, out_%03d.jpg; "
                             "to fill a folder with pictures of a folder of images: instseg predict --draw")
        if suffix in SUFFIXES and not self.pattern and not single:
            raise MediaError(f"{path}: is one picture, but the input has many; put a number into the name: "
                             f"{self.path.stem.replace('%', '%%')}_%03d{self.path.suffix}")
        if not self.path.parent.is_dir():
            raise MediaError(f"{path}: there is no folder {self.path.parent}; make it first")
        self._refuse_inputs()

    def _refuse_inputs(self):
        """Look through the names that will be written before the first one is."""
        if not self.pattern:
            self.inputs.refuse(self.path)
        elif self.inputs.places:
            for file in self.path.parent.iterdir():
                if self._is_written(file.name):
                    self.inputs.refuse(file)

    def _is_written(self, name):
        """Whether a file of this name is one of the numbered pictures."""
        before, number, after = self.pattern
        digits = name[len(before):len(name) - len(after)]
        return (len(digits) < 10 and digits.strip().isdecimal() and before + number % int(digits) + after == name
                and not 0 < self.limit <= int(digits))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.video:
            self.video.release()

    def write(self, image):
        """Write a picture, (H, W, 3) uint8 BGR. All frames of a video get the size of its first.

        Raises:
            MediaError: It cannot be written.
        """
        if self.limit and self.written >= self.limit:
            return
        if self.path.suffix.lower() in CODECS:
            self._to_video(image)
        else:
            before, number, after = self.pattern or (self.path.name, "", "")
            _save(self.path.with_name(before + (number and number % self.written) + after), image)
        self.written += 1

    def _to_video(self, image):
        if self.video is None:
            self.size_hw = image.shape[:2]
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self.video = cv2.VideoWriter(str(self.path), codec, self.fps, self.size_hw[::-1])
            if not self.video.isOpened():
                raise MediaError(f"{self.path}: cannot be written; is there room, and may you write there?")
        self.video.write(image if image.shape[:2] == self.size_hw else fitted(image, self.size_hw, bars=True))


def number_pattern(name):
    """Find the number in a file's name such as `out_%03d.jpg`.

    Returns:
        What is before it, its format, and what is after it; None when there is none. A percent sign that begins no format stays
        one: `100%_%03d.jpg`.

    Raises:
        MediaError: There are several, or another format beside it.
    """
    parts = re.split(r"(%%|%[-+ #\d*]*[a-zA-Z])", name)
    formats = [part for part in parts[1::2] if part != "%%"]
    numbers = [part for part in formats if re.fullmatch(r"%0?\d?d", part)]
    if not numbers:
        return None
    if len(formats) > 1:
        raise MediaError(f"{name}: expected one number such as %03d in the name of the pictures, got {' and '.join(formats)}; a "
                         "percent sign is written %%")
    at = parts.index(*numbers)
    before, after = ("".join(part).replace("%%", "%") for part in (parts[:at], parts[at + 1:]))
    return before, *numbers, after


def _save(path, image):
    """Write a picture over whatever is there, or raise MediaError."""
    try:
        with quiet():
            written = cv2.imwrite(str(path), image)
    except cv2.error:  # too wide for its format, or empty
        written = False
    if not written:
        height, width = image.shape[:2]
        raise MediaError(f"{path}: cannot be written; is there room, may you write there, and is {width}×{height} a size that "
                         "its format knows?")


def fitted(image, size_hw, bars=False):
    """Scale an image, up or down, to fit into (height, width) pixels; `bars` fill what is left in black."""
    scale = min(size_hw[0] / image.shape[0], size_hw[1] / image.shape[1])
    inner = [max(1, round(side * scale)) for side in image.shape[:2]]
    image = cv2.resize(image, inner[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if not bars:
        return image
    canvas = np.zeros((*size_hw, 3), np.uint8)
    top, left = (size_hw[0] - inner[0]) // 2, (size_hw[1] - inner[1]) // 2
    canvas[top:top + inner[0], left:left + inner[1]] = image
    return canvas


def write_image(path, image, inputs=None):
    """Write a picture, (H, W, 3) uint8 BGR; its folder is made.

    Args:
        path: The file.
        image: The picture.
        inputs: Inputs that must not be written over.

    Raises:
        MediaError: It cannot be written.
    """
    check_name(path)
    path = Path(path)
    if inputs:
        inputs.refuse(path)
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: expected the name of an image ({', '.join(sorted(SUFFIXES))})")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{path}: its folder cannot be made ({error.strerror})") from error
    _save(path, image)


class JsonLines:
    """A context manager that writes one JSON object per picture; each line is complete when `write` returns.

    Args:
        path: The file to write.
        inputs: Files that are being read; none of them is written over.

    Raises:
        MediaError: It cannot be written.
    """

    def __init__(self, path, inputs=()):
        Inputs(inputs).refuse(path)
        try:
            self.file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise MediaError(f"{path}: cannot be written ({error.strerror})") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, index, name, prediction):
        """Write picture number `index` (from 0) called `name`."""
        line = dict(frame=index, source=name, size=list(prediction.size_hw), objects=list(_objects(prediction)))
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _objects(prediction):
    """Dicts with `box` (x1 y1 x2 y2 in pixels), `label`, `class_id` (from 0), `score`, `track_id`, and `mask`, a COCO RLE."""
    tracks = [None] * len(prediction) if prediction.track_ids is None else prediction.track_ids.tolist()
    for box, name, label, score, track, rle in zip(prediction.boxes.tolist(), prediction.names(), prediction.labels.tolist(),
                                                   prediction.scores.tolist(), tracks, prediction.rles, strict=True):
        yield dict(box=box, label=name, class_id=label, score=score, track_id=track,
                   mask=dict(size=list(rle["size"]), counts=rle["counts"].decode("ascii")))
