"""Where results go: videos, numbered pictures, JSON lines. Needs no torch."""

import json
import re
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.sources import SUFFIXES

CODECS = {".avi": "MJPG", ".mp4": "mp4v"}


class Output:
    """A context manager that writes pictures: `x.avi` (Motion JPEG), `x.mp4`, `x_%03d.jpg`, or one `x.jpg`.

    Args:
        path: What to write.
        fps: Frames per second of a video.
        limit: Number of pictures that are written at most, 0 for all.
        single: There will be one picture only.

    Raises:
        MediaError: The name is of no such kind, or the folder is missing.
    """

    def __init__(self, path, fps=None, limit=0, single=False):
        self.path, self.fps, self.limit, self.written, self.video = Path(path), fps or 30.0, limit, 0, None
        self.numbered = re.search(r"%\d*d", self.path.name) is not None
        if self.path.suffix.lower() not in {*CODECS, *SUFFIXES}:
            raise MediaError(f"-o {path}: expected a name ending in .avi, .mp4, or that of an image such as out_%03d.jpg; "
                             "to fill a folder with pictures of a folder of images: instseg predict --draw")
        if self.path.suffix.lower() in SUFFIXES and not self.numbered and not single:
            raise MediaError(f"-o {path}: is one picture, but the input has many; put a number into the name: "
                             f"{self.path.stem}_%03d{self.path.suffix}")
        if not self.path.parent.is_dir():
            raise MediaError(f"-o {path}: there is no folder {self.path.parent}; make it first")

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
            path = self.path.with_name(self.path.name % self.written) if self.numbered else self.path
            if not cv2.imwrite(str(path), image):
                raise MediaError(f"-o {path}: cannot be written; is there room, and may you write there?")
        self.written += 1

    def _to_video(self, image):
        if self.video is None:
            self.size_hw = image.shape[:2]
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self.video = cv2.VideoWriter(str(self.path), codec, self.fps, self.size_hw[::-1])
            if not self.video.isOpened():
                raise MediaError(f"-o {self.path}: cannot be written; is there room, and may you write there?")
        self.video.write(image if image.shape[:2] == self.size_hw else fitted(image, self.size_hw, bars=True))


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


def write_image(path, image):
    """Write a picture, (H, W, 3) uint8 BGR; its folder is made.

    Raises:
        MediaError: It cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: expected the name of an image ({', '.join(sorted(SUFFIXES))})")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{path}: its folder cannot be made ({error.strerror})") from error
    if not cv2.imwrite(str(path), image):
        raise MediaError(f"{path}: cannot be written; is there room, and may you write there?")


class JsonLines:
    """A context manager that writes one JSON object per picture; each line is complete when `write` returns.

    Args:
        path: The file to write.

    Raises:
        MediaError: It cannot be written.
    """

    def __init__(self, path):
        try:
            self.file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise MediaError(f"--save-json {path}: cannot be written ({error.strerror})") from error

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
