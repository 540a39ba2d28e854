"""Normalise the image list, find the files, and check that they open and have the size the JSON says."""

import functools
import os
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from instance_segmentation.coco.findings import did_you_mean
from instance_segmentation.coco.pixels import CUT_OFF, MANY_PAGES, fault_of_pixels

DECODED_IMAGES = 1000
"""Images decoded to the end, spread evenly over the file; of the others only the header is read (0.1 ms each)."""

LONGEST_PX, MOST_PX = 1 << 20, 1 << 30
"""OpenCV's own limits of a side and of all pixels; an RLE of more would be taken for memory."""
_READ_BY_OPENCV = {"BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"}
ORIENTATION = 0x0112  # EXIF's tag
UPSIDE_DOWN = ("{n} image|images with an EXIF rotation that leaves its|their size as it was; training turns it|them, as viewers"
               " do: look whether the objects lie on the turned picture")


@dataclass(frozen=True)
class _Fault:
    """What is wrong with an image file; `sentence` None: it is missing. `turn`: the EXIF orientation its objects lack."""

    sentence: str | None
    detail: str = ""
    turn: int = 0


UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def read_images(document, root, findings):
    """Return {image id in the file: {"file_name", "width", "height", "source_id"}}; None where the entry is a problem.

    In the order of the ids when they are integers: pycocotools walks images so, and equal scores then tie the same way.
    """
    images = {}
    for raw in document["images"]:
        if not isinstance(raw, dict):
            findings.problem('{n} entry|entries of "images" is|are not an object', f"{raw!r:.60}")
            continue
        missing = [key for key in ("id", "file_name", "width", "height") if raw.get(key) is None]
        image_id = raw.get("id")
        if missing:
            findings.problem(f"{{n}} image|images without {', '.join(missing)}", f"{raw!r:.80}")
        elif type(image_id) not in (int, str):
            findings.problem("{n} image|images with an id that is not an integer or text", f"{image_id!r:.40}")
            continue
        elif image_id in images:
            findings.problem("{n} image id|ids occurs|occur twice; give each image its own", f"image {image_id}")
            images[image_id] = None  # whose its objects are is unknown
            continue
        if type(image_id) in (int, str):
            images[image_id] = None if missing else _entry(raw, root, findings)
    if not document["images"]:
        findings.problem('"images" is empty; expected at least one image', whole=True)
    return dict(sorted(images.items())) if all(type(image_id) is int for image_id in images) else images


def _entry(raw, root, findings):
    name, width, height = raw["file_name"], raw["width"], raw["height"]
    if not isinstance(name, str) or not name:
        return findings.problem('{n} image|images whose "file_name" is not a name', f"image {raw['id']}")
    if not all(type(side) in (int, float) and 0 < side < 1 << 30 and side == int(side) for side in (width, height)):
        return findings.problem('{n} image|images whose "width" or "height" is not a number of pixels', name)
    if max(width, height) > LONGEST_PX or width * height > MOST_PX:
        return findings.problem('{n} image|images larger than OpenCV reads; cut it|them into parts', f"{name}, {width}x{height}")
    return {"file_name": os.path.abspath(root / name), "width": int(width), "height": int(height),
            "source_id": raw["id"], "name": name}


def check_images(images, root, findings, progress=None):
    """Open every image file and record in `findings` what is missing, broken or of another size.

    Args:
        images: Entries of `read_images`. Those with a problem get the key "fault": the EXIF orientation by which their objects
            would have to be turned, or 0 when the image cannot be used.
        root: Image root they were joined with.
        findings: Where problems and notes go.
        progress: Called as progress(done, total) after each image.
    """
    if not root.is_dir() and not all(os.path.isabs(image["name"]) for image in images):
        for image in images:
            image["fault"] = 0
        return findings.problem(f"the image root {root} is not a folder; check the path", whole=True)
    step = max(1, -(-len(images) // DECODED_IMAGES))
    jobs = [(image, index % step == 0) for index, image in enumerate(images)]
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of large images and odd EXIF; neither stops OpenCV
        for done, (image, fault) in enumerate(zip(images, pool.map(_check, jobs), strict=True), 1):
            if fault and fault.sentence in (UPSIDE_DOWN, MANY_PAGES):
                findings.note(fault.sentence, image["name"])
            elif fault:
                image["fault"] = fault.turn
                sentence = fault.sentence or f"{{n}} image|images is|are listed but not in {root}/"
                example = f"{image['name']}{fault.detail}" if fault.sentence else functools.partial(_hint, image, root)
                findings.problem(sentence, example)
            if progress:
                progress(done, len(images))
    if step > 1:
        findings.note(f"every {step}th image was decoded to its end, of the others the header was read")
    return None


def _check(job):
    """Return what is wrong with an image, or None."""
    image, decode = job
    try:
        with Image.open(image["file_name"]) as picture:
            if picture.format not in _READ_BY_OPENCV:
                return _Fault("{n} image|images OpenCV does not read; convert to JPEG or PNG", f" is {picture.format}")
            size, turn = picture.size, orientation(picture)
            oriented = upright(size, turn)
            unlike = fault_of_pixels(picture)
            if unlike not in (None, MANY_PAGES):
                return _Fault(unlike, ": image file is truncated" if unlike == CUT_OFF else "")
            if decode:
                picture.draft("RGB", (1, 1))  # JPEG: decode at 1/8 size; the whole stream is still read
                picture.load()
    except FileNotFoundError:
        return _Fault(None)
    except UNREADABLE as error:
        return _Fault("{n} image|images cannot be decoded; export or copy again", f": {str(error).splitlines()[0]:.80}")
    expected = image["width"], image["height"]
    if oriented == expected:
        return _Fault(UPSIDE_DOWN) if turn in range(2, 9) and size == expected else unlike and _Fault(unlike)
    detail = f" is {oriented[0]}x{oriented[1]}, the json says {expected[0]}x{expected[1]}"
    if size == expected:
        return _Fault(
            "{n} image|images with an EXIF rotation that the json does not know of: training would turn the image but"
            " not its objects; remove the tag (exiftool -Orientation= FILE), or let instseg check-data --fix turn the objects",
            f"{detail}, its size before the rotation", turn)
    return _Fault("{n} image|images has|have another size than the json says", detail)


def orientation(picture):
    """Return the EXIF orientation, 1 to 8, by which OpenCV turns an opened Pillow image when it decodes it.

    Pillow also knows the tag from XMP and from other places; OpenCV turns only what it finds in some places of some
    formats, which differ with its version. So where there is a tag OpenCV is asked.
    """
    tag = picture.getexif().get(ORIENTATION, 1)
    return tag if tag in range(2, 9) and _is_turned(picture) else 1


def _is_turned(picture):
    """Whether OpenCV decodes an image otherwise than it is stored."""
    import cv2  # takes longer to import than `instseg new` may
    small = cv2.IMREAD_GRAYSCALE if min(picture.size) < 256 else cv2.IMREAD_REDUCED_GRAYSCALE_8
    named = picture.filename  # the image that an annotation holds has no file
    content = np.fromfile(named, np.uint8) if named else np.frombuffer(picture.fp.getvalue(), np.uint8)
    seen, stored = (cv2.imdecode(content, small | flag) for flag in (0, cv2.IMREAD_IGNORE_ORIENTATION))
    return seen is not None and stored is not None and (seen.shape != stored.shape or bool((seen != stored).any()))


def oriented_size(picture):
    """Return (width, height) of an opened Pillow image as OpenCV loads it: EXIF orientations 5 to 8 lie on their side."""
    return upright(picture.size, orientation(picture))


def upright(size, turn):
    """Return a stored (width, height) as it is once an EXIF orientation has turned it."""
    return size[::-1] if turn in (5, 6, 7, 8) else size


def _hint(image, root):
    """Return the missing file's name and where it may be instead."""
    name, bare = image["name"], Path(image["name"]).name
    for folder in (root.parent, *list(root.absolute().parents)[1:3], *_subfolders(root)):
        if not os.path.isabs(name) and (folder / name).is_file():
            return f"{name}; it is in {folder}: give that as the image root"
    if (root / bare).is_file():
        return f"{name}; {root} has {bare}: take the folder out of the json's file_name"
    folder = Path(image["file_name"]).parent
    return name + (did_you_mean(bare, os.listdir(folder)) if folder.is_dir() else "")


def _subfolders(root):
    return sorted(entry for entry in root.iterdir() if entry.is_dir())[:50]
