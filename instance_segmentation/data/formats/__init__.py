"""Read the annotations of other tools: one module per format, each gives `LabelledData`.

Of the libraries that are kept up, datumaro 1.13 reads of YOLO only boxes, of labelme only its old XML, of CVAT no exported jobs,
and needs a second for each full-HD VOC mask; supervision 0.31 rounds the points of polygons to whole pixels; labelformat 0.1
knows no labelme, and stops at an image that has no YOLO file because it shows no object.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.findings import Findings

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
NO_CLASS = ("__ignore__", "_background_", "background", "ignored")
"""Names by which tools mark what is no object."""
ROUND_POINTS = 64
"""Corners of the polygon that stands for a circle or an ellipse."""


@dataclass(frozen=True)
class Shape:
    """One object: its class, its segmentation as COCO writes it (px of the upright image), and whether it is only a box."""

    name: str
    segmentation: list | dict
    is_box: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """An image file, its size in px as it is seen upright, its objects, and the video that it is a frame of."""

    path: Path
    width: int
    height: int
    shapes: list[Shape]
    video: str | None = None


@dataclass
class LabelledData:
    """What a reader fills.

    Attributes:
        spare: Folder for images that only the annotations hold.
        findings: What is wrong, each kind once; the reader goes on without it.
        show: Called as show(done, total) for each annotation file or image.
        classes: Class names in label order.
        splits: Images by split, "all" when there are none.
        left_out: What is no object with an area, by a stated rule: sentence → count.
        notes: What else the user should know.
        embedded: Images that only the annotations hold: path to write it to, below `spare`, → bytes.
    """

    findings: Findings
    spare: Path = Path()
    show: Callable[[int, int | None], None] = lambda done, total: None
    classes: list[str] = field(default_factory=list)
    splits: dict[str, list[LabelledImage]] = field(default_factory=dict)
    left_out: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    embedded: dict[Path, bytes] = field(default_factory=dict)

    def each(self, items):
        """Iterate over a list and show how far it is."""
        for done, item in enumerate(items, 1):
            yield item
            self.show(done, len(items))

    def add(self, image, split="all"):
        """Add an image to a split."""
        self.splits.setdefault(split, []).append(image)


def split_of(path):
    """The split whose name one of the folders of a relative path has; "all" when none has."""
    return next((SPLITS[part.lower()] for part in path.parts[:-1] if part.lower() in SPLITS), "all")


def corners(left, top, right, bottom):
    """A box as a COCO polygon."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def turned_box(centre, size, degrees):
    """A box (px) turned clockwise about its centre, as a COCO polygon."""
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.asarray(size) / 2
    return [_turned(half, degrees, centre)]


def ellipse(centre, radii, degrees=0.0):
    """An ellipse (px) turned clockwise about its centre, as a COCO polygon."""
    angle = np.linspace(0, 2 * np.pi, ROUND_POINTS, endpoint=False)[:, None]
    return [_turned(np.hstack([np.cos(angle), np.sin(angle)]) * np.asarray(radii), degrees, centre)]


def _turned(points, degrees, centre):
    turn = np.deg2rad(degrees)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (points @ matrix + centre).ravel().tolist()


def rle_of_piece(piece, left, top, size_hw):
    """A COCO RLE, with text counts, of a mask that is a small part of its image.

    Only the piece is looked at: a full mask of a 24-megapixel photo takes half a second to encode.

    Args:
        piece: (h, w) of 0 and 1; what of it lies beyond the image is cut off.
        left, top: Where it lies in the image, px.
        size_hw: (height, width) of the image, px.

    Raises:
        ValueError: It lies outside the image.
    """
    height, width = size_hw
    if not (0 <= left < width and 0 <= top < height):
        raise ValueError("its mask lies outside the image")
    piece = np.asarray(piece, np.int8)[:height - top, :width - left]
    columns, rows = np.nonzero(np.diff(np.pad(piece, ((1, 1), (0, 0))), axis=0).T)  # where a run begins or ends
    changes, counts = np.unique((left + columns) * height + top + rows, return_counts=True)
    changes = changes[counts == 1]  # one run ends at a column's foot where the next begins at the top of the next
    runs = np.diff(np.concatenate([[0], changes, [height * width]])).astype(np.int64)
    if len(changes) and changes[-1] == height * width:
        runs = runs[:-1]
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def joined(shapes, size_hw):
    """Several shapes of one object as one: polygons stay polygons, else the union of their masks.

    Args:
        shapes: Shapes of one class.
        size_hw: (height, width) of the image, px.
    """
    if len(shapes) == 1:
        return shapes[0]
    is_box = all(shape.is_box for shape in shapes)
    if all(isinstance(shape.segmentation, list) for shape in shapes):
        return Shape(shapes[0].name, [part for shape in shapes for part in shape.segmentation], is_box)
    rles = []
    for shape in shapes:
        if isinstance(shape.segmentation, dict):
            rles.append({**shape.segmentation, "counts": shape.segmentation["counts"].encode("ascii")})
        else:
            rles += coco_mask.frPyObjects(shape.segmentation, *size_hw)
    union = coco_mask.merge(rles)
    return Shape(shapes[0].name, {"size": list(size_hw), "counts": union["counts"].decode("ascii")}, is_box)


def grouped(shapes, size_hw):
    """Join the shapes that belong to one object.

    Args:
        shapes: Pairs of a Shape and its group; those of one class and one group that is not None are one object.
        size_hw: (height, width) of the image, px.

    Returns:
        List of Shapes, in the order of their first parts.
    """
    objects = {}
    for place, (shape, group) in enumerate(shapes):
        key = ("alone", place) if group is None else (shape.name, group)
        objects.setdefault(key, []).append(shape)
    return [joined(parts, size_hw) for parts in objects.values()]
