"""labelme: a JSON file per image, with "shapes" in pixels of the upright image."""

import base64
import binascii
import io
from pathlib import PureWindowsPath
from types import NoneType

import numpy as np
from PIL import Image

from instance_segmentation.coco.files import is_file
from instance_segmentation.coco.images import UNREADABLE, oriented_size
from instance_segmentation.data.formats import NO_CLASS, LabelledImage, Shape, corners, ellipse, grouped, rle_of_piece, split_of
from instance_segmentation.data.formats.image_files import IMAGE_SUFFIXES, ImageFiles
from instance_segmentation.json_files import JsonError, parse_json

LEFT_OUT = '{n} shape|shapes of the type "{type}", which has no area'
IGNORED = '{n} shape|shapes labelled "{name}", which marks what is no object'
NOT_LABELME = "{n} file|files not as labelme writes it|them; save it|them with labelme again"
NO_IMAGE = "{n} file|files without its|their image, which is neither where the file says, nor beside it, nor inside it"
BAD_SHAPE = "{n} shape|shapes cannot be read; correct or delete it|them with labelme"
EMBEDDED = "images taken out of the annotations, which hold them: {n}"


def find_labelme(source):
    """The annotation files below a folder."""
    if not source.is_dir():
        return []
    return [path for path in sorted(source.rglob("*.json")) if b'"shapes"' in path.read_bytes()]


def read_labelme(source, data):
    """Read a folder of labelme's files; folders named train, val and the like are splits.

    Shapes of one label and one group_id are the parts of one object.

    Args:
        source: Folder.
        data: LabelledData to fill, its classes in the order of the alphabet.
    """
    images, names = ImageFiles(source, data.findings), set()
    for file in data.each(find_labelme(source)):
        content = _content(file, images, data)
        if content is None:
            continue
        found = _image(file, content, images, data)
        if found is None:
            continue
        path, size = found
        shapes = [pair for entry in content["shapes"] if (pair := _shape(entry, size[::-1], images.named(file), data))]
        names |= {shape.name for shape, _ in shapes}
        data.add(LabelledImage(path, *size, grouped(shapes, size[::-1])), split_of(file.relative_to(source)))
    data.classes = sorted(names)
    if data.embedded:
        data.notes.append(EMBEDDED.replace("{n}", str(len(data.embedded))))


def _content(file, images, data):
    """What a file holds; None, with a note, when it is not labelme's."""
    try:
        content = parse_json(file.read_bytes())
    except JsonError as error:
        return data.findings.problem(NOT_LABELME, f"{images.named(file)} {error}")
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return data.findings.problem(NOT_LABELME, f'{images.named(file)}: "shapes" is no list')
    return content


def _image(file, content, images, data):
    """(Path, size in px) of a file's image: where it says, beside it under its name, or out of the file itself."""
    named = PureWindowsPath(str(content.get("imagePath") or ""))
    places = [file.parent / named.as_posix(), file.parent / named.name]
    places += [path for path in images.all(file.parent) if path.parent == file.parent and path.stem == file.stem]
    found = next((path for path in places if path.suffix.lower() in IMAGE_SUFFIXES and is_file(path)), None)
    if found is not None:
        size = images.size(found)
        return (found, size) if size else None
    if content.get("imageData"):
        return _embedded(file, content, images, data)
    return data.findings.problem(NO_IMAGE, f"{images.named(file)}: {content.get('imagePath')}")


def _embedded(file, content, images, data):
    """The same of an image that only the annotation holds; it is written beside the COCO files later."""
    try:
        encoded = base64.b64decode(content["imageData"])
        with Image.open(io.BytesIO(encoded)) as picture:
            size, suffix = oriented_size(picture), f".{(picture.format or 'png').lower()}"
    except (TypeError, binascii.Error, *UNREADABLE) as error:
        return data.findings.problem(NO_IMAGE, f"{images.named(file)}: the image inside it cannot be decoded ({error!s:.60})")
    path = data.spare / file.relative_to(images.root).with_suffix({".jpeg": ".jpg"}.get(suffix, suffix))
    data.embedded[path] = encoded
    return path, size


def _shape(entry, size_hw, where, data):
    """(Shape, group or None) of an entry of "shapes"; None when it is left out."""
    try:
        kind, name = entry.get("shape_type") or "polygon", str(entry["label"]).strip()
        if name in NO_CLASS:
            data.left_out[IGNORED.replace("{name}", name)] += 1
            return None
        segmentation = _segmentation(kind, entry, size_hw)
        if segmentation is None:
            data.left_out[LEFT_OUT.replace("{type}", str(kind))] += 1
            return None
        if not isinstance(group := entry.get("group_id"), (int, str, NoneType)):
            raise ValueError("its group_id is neither a number nor a text")
        return Shape(name, segmentation, kind in ("rectangle", "oriented_rectangle", "rotation")), group
    except (AttributeError, KeyError, TypeError, IndexError, binascii.Error, *UNREADABLE) as error:
        return data.findings.problem(BAD_SHAPE, f"{where}: {type(error).__name__}: {error!s:.80}")


def _segmentation(kind, entry, size_hw):
    """What an entry covers, as COCO writes it; None for lines and points."""
    points = np.array(entry["points"], float).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is no number")
    if kind in ("polygon", "oriented_rectangle", "rotation"):
        return [points.ravel().tolist()]
    if kind == "rectangle":
        return corners(*points.min(0).tolist(), *points.max(0).tolist())
    if kind == "circle":  # its centre and a point on it
        radius = float(np.linalg.norm(points[1] - points[0]))
        return ellipse(points[0], (radius, radius))
    return _mask(entry, points, size_hw) if kind == "mask" else None


def _mask(entry, points, size_hw):
    """A picture of the box between two points."""
    left, top = points[0].round().astype(int)
    with Image.open(io.BytesIO(base64.b64decode(entry["mask"]))) as picture:
        piece = np.asarray(picture.convert("L")) > 0
    return rle_of_piece(piece, int(left), int(top), size_hw)
