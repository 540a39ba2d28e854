"""YOLO segmentation: beside each image a text file with a line per object, "class x1 y1 x2 y2 …", from 0 to 1.

Read as Ultralytics, Roboflow and CVAT write them (data.yaml), as darknet and CVAT's "YOLO 1.1" (obj.data) and Label Studio
(classes.txt).
"""

from pathlib import Path, PureWindowsPath

import numpy as np
import yaml

from instance_segmentation.coco.files import is_file
from instance_segmentation.data.formats import SPLITS, LabelledImage, Shape, corners
from instance_segmentation.data.formats.image_files import IMAGE_SUFFIXES, ImageFiles
from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import decode_text

BAD_NUMBERS = "{n} line|lines without a class number and coordinates from 0 to 1; correct or delete it|them"
BAD_CLASS = "{n} line|lines with a class that the names do not have; correct the names or the line|lines"
ODD = "{n} line|lines with an odd number of coordinates; expected pairs x y"
FAR = "{n} line|lines with coordinates in pixels or otherwise beyond 0 to 1; divide x by the width and y by the height"
NO_FOLDER = "{n} folder|folders of images that does|do not exist; correct the path"
FEW_POINTS = "{n} line|lines of one or two points, which enclose nothing"
MARGIN = 0.05
"""How far outside 0 to 1 a coordinate may lie: annotators drag points over the rim."""
LARGEST_YAML = 10_000_000


def find_yolo(source):
    """The file that says what there is: data.yaml, obj.data or classes.txt; None when there is none."""
    if source.is_file():
        return source if _says_names(source) else None
    files = [*sorted(source.glob("*.y*ml")), *sorted(source.glob("*.data")), source / "classes.txt"]
    return next((path for path in files if path.is_file() and _says_names(path)), None)


def _says_names(path):
    if path.suffix not in (".yaml", ".yml", ".data", ".txt") or path.stat().st_size > LARGEST_YAML:
        return False
    if path.suffix == ".txt":
        return path.name == "classes.txt" and (path.parent / "labels").is_dir()
    text = decode_text(path.read_bytes())
    return "names:" in text if path.suffix != ".data" else "names" in text


def read_yolo(source, data):
    """Read a YOLO data set.

    Args:
        source: Its folder, or its data.yaml, obj.data or classes.txt.
        data: LabelledData to fill.

    Raises:
        DatasetError: The file with the names cannot be read.
    """
    file = find_yolo(source)
    config = _CONFIGS[file.suffix](file)
    names, root = config["names"], source if source.is_dir() else file.parent
    data.classes = list(dict.fromkeys(names.values()))
    images = ImageFiles(root, data.findings)
    jobs = [(path, split) for split, entries in config["splits"].items()
            for path in _paths(file, config["path"], entries, images, data)]
    for path, split in data.each(jobs):
        if size := images.size(path):
            data.add(LabelledImage(path, *size, _shapes(path, names, size, images, data)), split)


def _of_yaml(file):
    """Names, root and splits of an Ultralytics data.yaml."""
    try:
        config = yaml.safe_load(decode_text(file.read_bytes()))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DatasetError(f"{file}: is not valid YAML: {' '.join(str(error).split()):.200}") from error
    names = config.get("names") if isinstance(config, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f'{file}: expected "names", a list of classes or numbers with their classes')
    splits = {}
    for key, split in SPLITS.items():
        if value := config.get(key):
            splits.setdefault(split, value if isinstance(value, list) else [value])
    return dict(names={str(number): str(name) for number, name in names.items()}, path=str(config.get("path") or ""),
                splits=splits or {"all": ["images"]})


def _of_darknet(file):
    """The same of an obj.data: lines `key = value`, names in a file of their own."""
    entries = {}
    for line in decode_text(file.read_bytes()).splitlines():
        key, _, value = line.partition("=")
        entries[key.strip()] = value.strip()
    beside = file.parent / PureWindowsPath(entries.get("names", "")).name
    if not is_file(beside):
        raise DatasetError(f"{file}: names the file {entries.get('names')!r} of class names, which is not beside it")
    splits = {split: [PureWindowsPath(entries[key]).name] for key, split in SPLITS.items() if entries.get(key)}
    return dict(names=_lines(beside), path="", splits=splits or {"all": ["obj_train_data"]})


def _of_classes(file):
    """The same of Label Studio's export: images/, labels/ and the names in classes.txt."""
    return dict(names=_lines(file), path="", splits={"all": ["images"]})


def _lines(file):
    lines = [line.strip() for line in decode_text(file.read_bytes()).splitlines()]
    return {str(number): name for number, name in enumerate(lines) if name}


_CONFIGS = {".yaml": _of_yaml, ".yml": _of_yaml, ".data": _of_darknet, ".txt": _of_classes}


def _paths(file, root, entries, images, data):
    """Paths of a split's images: folders, lists of images, or images."""
    paths = []
    for entry in map(str, entries):
        found = _place(file.parent, root, entry)
        if found is None and PureWindowsPath(entry).suffix.lower() in IMAGE_SUFFIXES:
            found = images.find(entry)
        elif found is None:
            data.findings.problem(NO_FOLDER, f"{entry}, named in {file.name}")
        if found is None:
            continue
        if found.is_dir():
            paths += images.all(found) if found.is_relative_to(images.root) else ImageFiles(found, data.findings).all()
        elif found.suffix.lower() in IMAGE_SUFFIXES:
            paths.append(found)
        else:
            listed = [line.strip() for line in decode_text(found.read_bytes()).splitlines() if line.strip()]
            paths += [path for line in listed if (path := images.find(line))]
    return list(dict.fromkeys(paths))


def _place(folder, root, entry):
    """Where an entry of data.yaml lies, whose paths may be those of another machine; None when it is nowhere."""
    parts = [part for part in PureWindowsPath(entry).parts if part != ".." and not part.endswith(("\\", "/", ":"))]
    # as written; below the file's folder (Roboflow's ../train/images); then shorter and shorter ends of the path
    candidates = [Path(entry), folder / root / entry, folder / entry]
    candidates += [folder.joinpath(*parts[start:]) for start in range(len(parts))]
    return next((path.resolve() for path in candidates if is_file(path) or _is_folder(path)), None)


def _is_folder(path):
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        return False


def _shapes(path, names, size_wh, images, data):
    file = _label_file(path)
    if not file.is_file():
        return []  # the image shows no object
    lines = enumerate(decode_text(file.read_bytes()).splitlines(), 1)
    shapes = (_shape(line, names, size_wh, f"{images.named(file)}:{number}", data) for number, line in lines if line.strip())
    return [shape for shape in shapes if shape]


def _label_file(path):
    """The rule of Ultralytics, the last folder named images becomes labels; else the file beside the image."""
    parts = list(path.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts)
    return path.with_suffix(".txt")


def _shape(line, names, size_wh, where, data):
    """The Shape of a line; None, with a note, where it cannot be read."""
    label, *numbers = line.split()
    try:
        values = np.array(numbers, float)
    except ValueError:
        return data.findings.problem(BAD_NUMBERS, f"{where}: {line:.60}")
    if label not in names:
        listed = ", ".join(list(names)[:3]) + (f" … {list(names)[-1]}" if len(names) > 3 else "")
        return data.findings.problem(BAD_CLASS, f"{where}: class {label:.40}; the names have {listed}")
    if len(values) % 2:
        return data.findings.problem(ODD, f"{where}: {len(values)} coordinates")
    if not (np.isfinite(values).all() and (values >= -MARGIN).all() and (values <= 1 + MARGIN).all()):
        return data.findings.problem(FAR, f"{where}: {line:.60}")
    if len(values) == 4:
        (x, y), (width, height) = values.reshape(2, 2) * size_wh
        return Shape(names[label], corners(x - width / 2, y - height / 2, x + width / 2, y + height / 2), is_box=True)
    if len(values) < 6:
        data.left_out[FEW_POINTS] += 1
        return None
    return Shape(names[label], [(values.reshape(-1, 2) * size_wh).ravel().tolist()])
