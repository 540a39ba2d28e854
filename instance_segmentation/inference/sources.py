"""Pictures from an image, a folder, a video, a camera or a stream, by one generator. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import cv2

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
    """

    kind: str
    pictures: Iterator
    fps: float | None = None
    count: int | None = None

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
        return _images([file for name in text for file in image_files(Path(name))], loop)
    path = Path(text)
    if "://" in str(text):
        return _stream(str(text), loop)
    if path.is_file():
        return _image(path, loop) if cv2.haveImageReader(str(path)) else _video(path, loop)
    if path.is_dir():
        return _folder(path, loop)
    if str(text).isdigit():
        return _camera(int(text))
    raise MediaError(f"-i {text}: no such file or folder; expected an image, a folder of images, a video, a camera's number or "
                     "a URL (rtsp://…, http://…)")


def _image(path, loop):
    picture = path.name, read_image(path)
    return Source("image", repeat(picture) if loop else iter([picture]), count=None if loop else 1)


def _folder(path, loop):
    return _images(image_files(path), loop)


def _images(files, loop):
    rounds = repeat(files) if loop else [files]
    pictures = ((file.name, read_image(file)) for files in rounds for file in files)
    return Source("folder", pictures, count=None if loop else len(files))


def image_files(path):
    """The images of a folder, by name; an image itself.

    Raises:
        MediaError: There is no such folder, or it holds none.
    """
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise MediaError(f"-i {path}: " + (f"holds no images ({', '.join(sorted(SUFFIXES))})" if path.is_dir() else
                                           "no such image or folder"))
    return files


def read_image(path):
    """Read an image, (H, W, 3) uint8 BGR.

    Raises:
        MediaError: It cannot be read.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise MediaError(f"{path}: cannot be read as an image; mend it or take it out of the input")
    return image


def _video(path, loop):
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise MediaError(f"-i {path}: neither an image nor a video that OpenCV can read; is it complete?")
    announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    frames = _frames(capture, str(path), CUT * announced, loop)
    return Source("video", frames, _fps(capture), None if loop or announced < 1 else int(announced))


def _stream(url, loop):
    waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, waits)
    if not capture.isOpened():
        raise MediaError(f"-i {url}: no video within {TIMEOUT_MS // 1000} s; is the address right and the sender running?")
    return Source("stream", _frames(capture, url, 1, loop), _fps(capture))


def _camera(number):
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise MediaError(f"-i {number}: there is no camera {number}, or another program uses it")
    for key, value in CAMERA.items():
        capture.set(key, value)  # a wish: a camera that cannot fulfil it keeps its own setting
    return Source("camera", _frames(capture, str(number), float("inf"), False), _fps(capture))


def source_of(capture, name="camera"):
    """A Source of an opened cv2.VideoCapture, which is released at the end."""
    return Source("camera", _frames(capture, name, 1, False), _fps(capture))


def _frames(capture, name, least, loop):
    """Yield a capture's frames and release it; fewer than `least` of them are an error."""
    try:
        while True:
            number, (seen, image) = 0, capture.read()
            while seen:
                yield name, image
                number, (seen, image) = number + 1, capture.read()
            if number < least:
                raise MediaError(f"-i {name}: no frame could be read after {number}; the file is damaged, or the camera gone")
            if not loop:
                return
            capture.open(name)  # opening anew is exact in every format, seeking is not
    finally:
        capture.release()


def _fps(capture):
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps < 1000 else None  # where it is unknown, some drivers say 0, -1 or a million
