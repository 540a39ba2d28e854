"""Read the annotations of other tools: YOLO and labelme here, VOC and CVAT through datumaro.

Of the libraries that are kept up, datumaro 1.13 reads of YOLO only boxes and of labelme only its old XML; supervision 0.31 reads
both, but as masks of polygons whose points it rounds to whole pixels; labelformat 0.1 knows no labelme, and stops at an image
that has no YOLO file because it shows no object.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Shape:
    """One object: its class, its segmentation as COCO writes it (px of the upright image), and whether it is only a box."""

    name: str
    segmentation: list | dict
    is_box: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """An image file, its size in px as it is seen upright, and its objects."""

    path: Path
    width: int
    height: int
    shapes: list[Shape]


@dataclass
class LabelledData:
    """What a reader gives: class names in label order, images by split ("all" when there are none), and what was left out."""

    classes: list[str] = field(default_factory=list)
    splits: dict[str, list[LabelledImage]] = field(default_factory=dict)
    left_out: Counter = field(default_factory=Counter)
    """Sentence → count."""


def corners(left, top, right, bottom):
    """A box as a COCO polygon."""
    return [[left, top, right, top, right, bottom, left, bottom]]
