"""labelme: a JSON file per image, with "shapes" in pixels of the upright image."""

import base64
import binascii
import glob
import io
import json
from pathlib import PureWindowsPath

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from instance_segmentation.coco.images import UNREADABLE, oriented_size
from instance_segmentation.data.formats import IMAGE_SUFFIXES, SPLITS, LabelledData, LabelledImage, Shape, corners
from instance_segmentation.errors import DatasetError

CIRCLE_POINTS = 64
LEFT_OUT = '{n} shape|shapes of the type "{type}", which has no area'


def find_labelme(source):
    """The annotation files below a folder."""
    return [path for path in sorted(source.rglob("*.json")) if b'"shapes"' in path.read_bytes()]


def read_labelme(source):
    """Read a folder of labelme's files; folders named train, val and the like are splits.

    Shapes of one label and one group_id are the parts of one object.

    Returns:
        LabelledData, its classes in the order of the alphabet.

    Raises:
        DatasetError: A file cannot be read, or its image is nowhere.
    """
    data, names = LabelledData(), set()
    for file in find_labelme(source):
        try:
            content = json.loads(file.read_text("utf-8"))
            path = _image(file, content)
            width, height = content.get("imageWidth"), content.get("imageHeight")
            if not (width and height):
                with Image.open(path) as picture:
                    width, height = oriented_size(picture)
            shapes = _shapes(content["shapes"], (height, width), data)
        except (KeyError, TypeError, IndexError, binascii.Error, *UNREADABLE) as error:
            raise DatasetError(f"{file}: not as labelme writes it ({type(error).__name__}: {error}). Save it with labelme again"
                               ) from error
        names |= {shape.name for shape in shapes}
        split = next((SPLITS[part] for part in file.relative_to(source).parts if part in SPLITS), "all")
        data.splits.setdefault(split, []).append(LabelledImage(path, width, height, shapes))
    data.classes = sorted(names)
    return data


def _image(file, content):
    """The image: where the file says (its separators may be those of Windows), or beside it under the same name."""
    named = file.parent / PureWindowsPath(content.get("imagePath") or "").as_posix()
    beside = [path for path in file.parent.glob(f"{glob.escape(file.stem)}.*") if path.suffix.lower() in IMAGE_SUFFIXES]
    found = next((path for path in (named, file.parent / named.name, *beside) if path.is_file()), None)
    if found is None:
        raise DatasetError(f"{file}: its image {content.get('imagePath')} is neither there nor beside it. Copy it there")
    return found


def _shapes(entries, size_hw, data):
    """One Shape per object."""
    shapes, grouped = [], {}
    for entry in entries:
        kind, name, group = entry.get("shape_type") or "polygon", str(entry["label"]), entry.get("group_id")
        segmentation = _segmentation(kind, entry, size_hw)
        if segmentation is None:
            data.left_out[LEFT_OUT.replace("{type}", kind)] += 1
        elif kind == "polygon" and (name, group) in grouped:
            grouped[name, group].segmentation.extend(segmentation)
        else:
            shapes.append(Shape(name, segmentation, is_box=kind == "rectangle"))
            if kind == "polygon" and group is not None:
                grouped[name, group] = shapes[-1]
    return shapes


def _segmentation(kind, entry, size_hw):
    """What an entry covers, as COCO writes it; None for lines and points."""
    points = np.array(entry["points"], float).reshape(-1, 2)
    if kind == "polygon":
        return [points.ravel().tolist()]
    if kind == "rectangle":
        return corners(*points.min(0).tolist(), *points.max(0).tolist())
    if kind == "circle":  # its centre and a point on it
        angle = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)[:, None]
        return [(points[0] + np.linalg.norm(points[1] - points[0]) * np.hstack([np.cos(angle), np.sin(angle)])).ravel().tolist()]
    if kind == "mask":  # a picture of the box between the two points
        mask, (left, top) = np.zeros(size_hw, np.uint8, order="F"), points[0].round().astype(int)
        piece = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["mask"]))).convert("L")) > 0
        place = mask[top : top + piece.shape[0], left : left + piece.shape[1]]
        place[:] = piece[: place.shape[0], : place.shape[1]]
        rle = coco_mask.encode(mask)
        return {"size": list(size_hw), "counts": rle["counts"].decode("ascii")}
    return None
