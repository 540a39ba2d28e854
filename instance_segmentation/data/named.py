"""Data sets by name, as Segmentoly's scripts take them, and the class names of COCO."""

import re
from dataclasses import dataclass
from pathlib import Path

from instance_segmentation.coco import category_names
from instance_segmentation.data.layouts import image_root
from instance_segmentation.errors import DatasetError

COCO_CLASSES = (  # in the order of their ids
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light", "fire hydrant",
    "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe",
    "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon",
    "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave",
    "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush")


@dataclass(frozen=True)
class NamedData:
    """A data set.

    Attributes:
        ann_file: COCO file.
        classes: Class names in the order of their ids.
        root: Folder that the file's image names start from; None when it is to be found.
    """

    ann_file: Path
    classes: tuple
    root: Path | None = None

    @property
    def image_root(self):
        """`root`, found near the file when unknown; raises DatasetError when no image is there."""
        folder = self.ann_file.parent
        return self.root or image_root(self.ann_file, folder.parent if folder.name == "annotations" else folder)


def find_dataset(name):
    """Find a data set.

    Args:
        name: `coco_YEAR_SPLIT`, in `data/coco` below the current folder, whose classes are known without its files; or the path
            of a COCO file with its images near it.

    Raises:
        DatasetError: It is neither.
    """
    if match := re.fullmatch(r"coco_(\d{4})_([a-z-]+)", name):
        year, split = match.groups()
        data = Path("data/coco")
        return NamedData(data / f"annotations/instances_{split}{year}.json", COCO_CLASSES, data / f"images/{split}{year}")
    path = Path(name).resolve()
    if not path.is_file():
        raise DatasetError(f"--dataset {name}: expected coco_YEAR_SPLIT, for example coco_2017_val, or the path of a COCO "
                           "annotation file")
    return NamedData(path, category_names(path))
