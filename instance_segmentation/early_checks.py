"""What a verb can refuse at once, before seconds go into importing torch: files that are not there or cannot be read."""

import difflib
from pathlib import Path

from instance_segmentation.coco.files import pair_files
from instance_segmentation.coco.reading import category_names
from instance_segmentation.errors import DatasetError, WeightsError

CHECKPOINTS, EXPORTED = (".pth",), (".xml", ".bin", ".onnx")


def check_weights_file(path, suffixes=(*CHECKPOINTS, *EXPORTED), flag="--load-weights"):
    """Return the path of weights that are there and of a kind that the verb takes.

    Args:
        path: The file.
        suffixes: Endings that the verb takes.
        flag: What the user gave it to.

    Raises:
        WeightsError: There is no such file, it is a folder, its ending is another, or an .xml or .bin lacks the other file.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in suffixes)
        raise WeightsError(f"{flag} {path}: is a folder; expected a file ({', '.join(suffixes)})"
                           + (f", for example {path / inside[0]}" if inside else ""))
    if not path.is_file():
        raise WeightsError(f"{flag} {path}: no such file{near_name(path)}; expected {', '.join(suffixes)}")
    if path.suffix not in suffixes:
        raise WeightsError(f"{flag} {path}: expected a file that ends in {', '.join(suffixes)}")
    for suffix in {".xml": [".bin"], ".bin": [".xml"]}.get(path.suffix, []):
        if not path.with_suffix(suffix).is_file():
            raise WeightsError(f"{flag} {path}: {path.with_suffix(suffix).name} is missing beside it; an OpenVINO model is a "
                               "pair of files of one name. Export or copy both")
    return path


def near_name(path):
    """`; did you mean …?` for a path that does not exist, or which of its folders is missing."""
    if not path.parent.is_dir():
        return f" ({path.parent} does not exist)"
    names = difflib.get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=1, cutoff=0.7)
    return f"; did you mean {path.parent / names[0]}?" if names else ""


def check_annotation_files(ann_files, data_roots):
    """Refuse annotation files and image folders that are not there, or files that are not COCO's.

    Raises:
        DatasetError: The first problem; the whole list comes when classes are known and images are looked at.
    """
    for ann_file, root in pair_files(ann_files, data_roots):
        category_names(ann_file)
        if not root.is_dir():
            raise DatasetError(f"{root}: no such image folder{near_name(root)}")
