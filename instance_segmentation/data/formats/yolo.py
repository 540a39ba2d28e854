"""YOLO segmentation: data.yaml, and beside each image a text file with a line per object, "class x1 y1 x2 y2 …", from 0 to 1."""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from instance_segmentation.coco.images import oriented_size
from instance_segmentation.data.formats import IMAGE_SUFFIXES, SPLITS, LabelledData, LabelledImage, Shape, corners
from instance_segmentation.errors import DatasetError


def find_yolo(source):
    """The data.yaml in a folder, or the file itself; None when there is none."""
    files = [source] if source.is_file() else sorted(source.glob("*.y*ml"))
    return next((path for path in files if path.suffix in (".yaml", ".yml") and "names:" in path.read_text("utf-8")), None)


def read_yolo(source):
    """Read a YOLO data set.

    Args:
        source: Its folder, or its data.yaml.

    Returns:
        LabelledData.

    Raises:
        DatasetError: A folder is missing, or a line cannot be read.
    """
    file = find_yolo(source)
    config = yaml.safe_load(file.read_text("utf-8"))
    names = config["names"] if isinstance(config["names"], dict) else dict(enumerate(config["names"]))
    data = LabelledData([str(names[number]) for number in sorted(names)])
    labels = {str(number): str(name) for number, name in names.items()}
    for key, split in SPLITS.items():
        if config.get(key):
            data.splits[split] = [_read_image(path, labels, data) for path in _images(file, config, config[key])]
    return data


def _images(file, config, folders):
    """Paths of a split's images; folders as Ultralytics and Roboflow write them."""
    root = file.parent / str(config.get("path") or "")
    root = root if root.is_dir() else file.parent
    paths = []
    for name in [folders] if isinstance(folders, str) else folders:
        # Roboflow's ../train/images lies beside data.yaml
        found = next((path for path in (root / name, file.parent / name.removeprefix("../")) if path.exists()), None)
        if found is None:
            raise DatasetError(f"{file}: it names {name}, but {root / name} does not exist. Correct the path")
        if found.is_file():
            paths += [found.parent / line.strip() for line in found.read_text("utf-8").splitlines() if line.strip()]
        else:
            paths += sorted(path for path in found.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return paths


def _read_image(path, labels, data):
    try:
        with Image.open(path) as picture:
            width, height = oriented_size(picture)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}. Export or copy it again") from error
    file = _label_file(path)
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []  # no file: the image shows no object
    shapes = [_shape(line, labels, (width, height), f"{file}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    return LabelledImage(path, width, height, shapes)


def _label_file(path):
    """The rule of Ultralytics: the last folder named images becomes labels, and the suffix .txt."""
    parts = list(path.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


def _shape(line, labels, size_wh, where):
    label, *numbers = line.split()
    try:
        values = np.array(numbers, float)
    except ValueError as error:
        raise DatasetError(f"{where}: got '{line:.60}', expected a class number and coordinates from 0 to 1") from error
    if label not in labels:
        raise DatasetError(f"{where}: class {label} is not in the names of data.yaml, {', '.join(labels.values())}")
    if len(values) == 4:
        (x, y), (width, height) = values.reshape(2, 2) * size_wh
        return Shape(labels[label], corners(x - width / 2, y - height / 2, x + width / 2, y + height / 2), is_box=True)
    if len(values) % 2:
        raise DatasetError(f"{where}: {len(values)} coordinates; expected pairs x y")
    return Shape(labels[label], [(values.reshape(-1, 2) * size_wh).ravel().tolist()])
