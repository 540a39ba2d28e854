"""The file that says what was found in the golden samples: written beside a model, and read as a stranger's file."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import run_lengths
from instance_segmentation.errors import WeightsError
from instance_segmentation.json_files import read_json
from instance_segmentation.prediction import Prediction
from instance_segmentation.report import write_text

FOLDER, RECORD = "golden", "detections.json"
IMAGES = ("1.png", "2.png", "3.png")
AGAIN = "export the model again"


def tells_models_apart(found):
    """Whether something was found in these Predictions of the samples: a mask with a pixel."""
    # one by one: of a list of more than 255, pycocotools 2.0.11 raises an OverflowError
    return any(coco_mask.area(rle) for one in found for rle in one.rles)


def write(file, classes, size_hw, found):
    """Write a record.

    Args:
        file: The JSON file.
        classes: The model's class names.
        size_hw: Height and width of its input in pixels.
        found: Name of the sample → Prediction.
    """
    images = {name: [_item(*each) for each in zip(one.labels.tolist(), one.scores.tolist(), one.boxes.tolist(), one.rles,
                                                  strict=True)] for name, one in found.items()}
    content = dict(classes=classes, input_size=size_hw, images=images)
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _item(label, score, box, rle):
    """A detection as JSON; rounded far below any tolerance."""
    return dict(label=label, score=round(score, 6), box=[round(side, 4) for side in box], mask=rle["counts"].decode())


def read(file, classes, size_hw):
    """Read a record. Every value is checked: pycocotools writes past its buffers when an RLE is longer than its image.

    Args:
        file: The JSON file.
        classes: The model's class names.
        size_hw: Height and width of its input in pixels.

    Returns:
        Name of the sample → Prediction.

    Raises:
        WeightsError: The file cannot be read, is damaged, belongs to another model, or nothing was found.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file. {AGAIN.capitalize()} with images in which it finds something, or "
                           f"copy the folder {FOLDER} along with the model")
    content = read_json(file, WeightsError)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict) or not set(images) <= set(IMAGES):
        raise WeightsError(f"{file}: damaged (it lists no images, or others than {', '.join(IMAGES)}); {AGAIN}")
    for key, own in ("classes", classes), ("input_size", size_hw):
        if content.get(key) != list(own):
            raise WeightsError(f"{file.parent}: was made by a model whose {key.replace('_', ' ')} is {content.get(key)}, not "
                               f"{list(own)}; {AGAIN}")
    found = {name: _prediction(items, tuple(classes), tuple(size_hw), f"{file}: {name}") for name, items in images.items()}
    if not tells_models_apart(found.values()):
        raise WeightsError(f"{file}: nothing was found in the samples when they were made, so any model would pass; {AGAIN} with "
                           "images in which it finds something (--test-ann-files, --test-data-roots)")
    return found


def _prediction(items, classes, size_hw, where):
    """The Prediction that a list of `_item` recorded; `where` begins the error's message."""
    if not isinstance(items, list):
        raise WeightsError(f"{where}: damaged (expected a list of detections); {AGAIN}")
    for number, item in enumerate(items, 1):
        wrong = _wrong(item, len(classes), size_hw)
        if wrong:
            raise WeightsError(f"{where}: detection {number} is damaged ({wrong}); {AGAIN}")
    labels = np.array([item["label"] for item in items], np.int64)
    boxes, scores = (np.array([item[key] for item in items], np.float32) for key in ("box", "score"))
    rles = [dict(size=list(size_hw), counts=item["mask"].encode("ascii")) for item in items]
    return Prediction(boxes.reshape(-1, 4), scores, labels, rles, classes, size_hw)


def _wrong(item, classes, size_hw):
    """What is wrong with a recorded detection, in words; empty when nothing is."""
    if not isinstance(item, dict):
        return "it is no object"
    label, score, box, mask = (item.get(key) for key in ("label", "score", "box", "mask"))
    if type(label) is not int or not 0 <= label < classes:
        return f"label is {label!r:.40}, expected 0 to {classes - 1}"
    if not _is_number(score) or not 0 <= score <= 1:
        return f"score is {score!r:.40}, expected a number from 0 to 1"
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return f"box is {box!r:.40}, expected four numbers"
    runs = run_lengths(mask) if isinstance(mask, str) and mask.isascii() else None
    if runs is None or (runs < 0).any() or runs.sum() != size_hw[0] * size_hw[1]:
        return "the runs of its mask do not add up to the image's pixels"
    return ""


def _is_number(value):
    return type(value) in (int, float) and -1e6 < value < 1e6  # false for NaN


def read_sample(file, size_hw):
    """Read a sample's pixels.

    Returns:
        (H, W, 3) uint8 BGR of the input's size.

    Raises:
        WeightsError: It cannot be read, or has another size.
    """
    from PIL import Image

    from instance_segmentation.coco.images import UNREADABLE
    try:
        # Pillow, not OpenCV: that takes as much memory for a chunk as the file says it has
        with Image.open(file) as picture:
            found_hw = picture.size[::-1]  # of the header: an image of another size shall take no memory
            pixels = np.asarray(picture.convert("RGB")) if found_hw == tuple(size_hw) else None
    except UNREADABLE as error:
        raise WeightsError(f"{file}: cannot be read as an image; {AGAIN}") from error
    if pixels is None:
        raise WeightsError(f"{file}: is {found_hw[0]}×{found_hw[1]} (height × width), but the model's input is "
                           f"{size_hw[0]}×{size_hw[1]}; {AGAIN}")
    return np.ascontiguousarray(pixels[..., ::-1])
