"""Pictures from an image, a folder, a video, a camera or a stream, by one generator. Needs no torch."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np

from instance_segmentation.errors import MediaError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TIMEOUT_MS = 10_000  # for a stream that does not answer
CUT = 0.98  # containers announce their number of frames as an estimate; a video that ends before this share of it is damaged
CAMERA = {cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"), cv2.CAP_PROP_FRAME_WIDTH: 1280,
          cv2.CAP_PROP_FRAME_HEIGHT: 720, cv2.CAP_PROP_FPS: 30, cv2.CAP_PROP_BUFFERSIZE: 1}


@dataclass(frozen=True)
class Source:
    """Where pictures come from.

    Attributes:
        kind: `image`, `folder`, `video`, `camera` or `stream`.
        pictures: Yields (name, (H, W, 3) uint8 BGR). Raises MediaError when a picture cannot be read.
        fps: Frames per second of a video, camera or stream that tells; None otherwise.
        count: Number of pictures, of a video the number that its file announces; None where there is no end.
        files: What is read, as far as it is files.
    """

    kind: str
    pictures: Iterator
    fps: float | None = None
    count: int | None = None
    files: tuple = ()

    @property
    def moving(self):
        """Whether consecutive pictures show the same scene."""
        return self.kind in ("video", "camera", "stream")


def open_source(text, loop=False):
    """Open what `-i` names, tried as an image, a folder, a video, a camera's number; a URL is known by its `://`.

    Args:
        text: Path, number or URL; or a list of images and folders.
        loop: Start again at the end, for ever.

    Raises:
        MediaError: There is no such thing, or nothing in it can be read.
    """
    if isinstance(text, list):
        files = [file for name in text for file in image_files(Path(name))]
        if not files:
            raise MediaError("the list of images is empty")
        return _images(files, loop)
    text = str(text)
    check_name(text)
    path = Path(text)
    if "://" in text:
        return _stream(text, loop)
    if path.is_file():
        return _images([path], loop) if cv2.haveImageReader(str(path)) else _video(path, loop)
    if path.is_dir():
        return _images(image_files(path), loop)
    if text.isdecimal():
        return _camera(int(text))
    raise MediaError(f"{text}: no such file or folder; expected an image, a folder of images, a video, a camera's number or "
                     "a URL (rtsp://…, http://…)")


def check_name(path):
    """Raise MediaError for a name whose bytes are no UTF-8: OpenCV ends the process when it is given one."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise MediaError(f"{path}: its name is not valid UTF-8; rename it") from None


def _images(files, loop):
    if len(files) == 1:
        picture = files[0].name, read_image(files[0])
        return Source("image", repeat(picture) if loop else iter([picture]), count=None if loop else 1, files=tuple(files))
    rounds = repeat(files) if loop else [files]
    pictures = ((file.name, read_image(file)) for files in rounds for file in files)
    return Source("folder", pictures, count=None if loop else len(files), files=tuple(files))


def image_files(path):
    """The images of a folder, by name; an image itself.

    Raises:
        MediaError: There is no such folder, or it holds none, or one whose name is no text.
    """
    if path.is_file():
        check_name(path)
        return [path]
    files = sorted(file for file in path.glob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise MediaError(f"{path}: " + (f"holds no images ({', '.join(sorted(SUFFIXES))})" if path.is_dir() else
                                        "no such image or folder"))
    for file in files:
        check_name(file)
    return files


def read_image(path):
    """Read an image, (H, W, 3) uint8 BGR.

    Raises:
        MediaError: There is none, or it cannot be read.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise MediaError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise MediaError(f"{path}: is a folder, expected an image") from None
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
    image = decoded(content)
    if image is None:
        raise MediaError(f"{path}: cannot be read as an image; mend it or take it out of the input")
    return image


def decoded(content):
    """An image file's bytes as (H, W, 3) uint8 BGR, decoded as in training; None when they are no whole image."""
    try:
        return cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error:  # more pixels than OpenCV allows
        return None


@contextlib.contextmanager
def quiet():
    """Keep OpenCV from printing lines of its own about what an error of ours says."""
    level = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


def _opened(*what):
    """A cv2.VideoCapture, opened or not."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    with quiet():
        return cv2.VideoCapture(*what)


def _video(path, loop):
    capture = _opened(str(path))
    if not capture.isOpened():
        raise MediaError(f"{path}: neither an image nor a video that OpenCV can read; is it complete?")
    announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    frames = _frames(capture, str(path), CUT * announced, loop)
    return Source("video", frames, _fps(capture), None if loop or announced < 1 else int(announced), (path,))


def _stream(url, loop):
    waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
    capture = _opened(url, cv2.CAP_FFMPEG, waits)
    if not capture.isOpened():
        raise MediaError(f"{url}: no video within {TIMEOUT_MS // 1000} s; is the address right and the sender running?")
    files = (unquote(url.removeprefix("file://")),) if url.startswith("file://") else ()
    return Source("stream", _frames(capture, url, 1, loop), _fps(capture), files=files)


def _camera(number):
    capture = _opened(number) if number < 1 << 31 else None
    if not capture or not capture.isOpened():
        raise MediaError(f"there is no camera {number}, or another program uses it")
    for key, value in CAMERA.items():
        capture.set(key, value)  # a wish: a camera that cannot fulfil it keeps its own setting
    return Source("camera", _frames(capture, str(number), float("inf"), False), _fps(capture))


def source_of(capture, name="camera"):
    """A Source of an opened cv2.VideoCapture, which is released at the end."""
    return Source("camera", _frames(capture, name, 1, False), _fps(capture))


def _frames(capture, name, least, loop):
    """Yield a capture's frames and release it; none, or fewer than `least` of them, are an error."""
    try:
        while True:
            number, (seen, image) = 0, capture.read()
            while seen:
                yield name, image
                number, (seen, image) = number + 1, capture.read()
            if number < max(least, 1):
                raise MediaError(f"{name}: no frame could be read after {number}; the file is damaged, or the camera gone"
                                 if number else f"{name}: holds no frame that can be read; is it complete?")
            if not loop:
                return
            capture.open(name)  # opening anew is exact in every format, seeking is not
    finally:
        capture.release()


def _fps(capture):
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps < 1000 else None  # where it is unknown, some drivers say 0, -1 or a million
