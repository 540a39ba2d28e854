"""Find the training and validation files in a folder that holds a COCO data set in one of the usual layouts."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from instance_segmentation.coco import read_document
from instance_segmentation.coco.files import is_file
from instance_segmentation.data.dividing import divided
from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import read_json

LAYOUTS = """  train.json and val.json, with images in train/ and val/, in images/, or beside them
  annotations/instances_train*.json and instances_val*.json, with images in images/ or train*/ and val*/
  train/_annotations.coco.json and valid/_annotations.coco.json, with images beside them
  one .json, with images in images/ or beside it (a fifth of them is set aside for validation)"""


@dataclass(frozen=True)
class Splits:
    """Annotation file and image folder of each split, and what to tell the user about how they were found."""

    train_json: Path
    train_root: Path
    val_json: Path
    val_root: Path
    found: str


def find_splits(folder, split_into, seed=0):
    """Find, or make, the training and validation split of a COCO folder.

    Args:
        folder: The user's folder; never written to.
        split_into: Folder for train.json and val.json when there is only one annotation file to divide.
        seed: Of that division; the same seed divides the same way.

    Returns:
        Splits.

    Raises:
        DatasetError: No layout fits; the message lists the layouts and what is there instead.
    """
    folder = Path(folder).resolve()
    files = find_files(folder)
    if "all" in files:
        return _divide(*files["all"], folder, Path(split_into), seed)
    (train, train_root), (val, val_root) = files["train"], files["val"]
    return Splits(train, train_root, val, val_root, f"train {_short(train, folder)}, val {_short(val, folder)}")


def find_files(folder):
    """Find the annotation files of a COCO folder.

    Returns:
        {"train": (file, image root), "val": …}, or {"all": …} when there is one file only.

    Raises:
        DatasetError: No layout fits; the message lists the layouts and what is there instead.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise DatasetError(f"--data {folder}: no such folder")
    files = sorted(path for pattern in ("*.json", "*/*.json") for path in folder.glob(pattern))
    train = _named(files, folder, ("train",))
    val = _named(files, folder, ("val", "valid", "validation")) or _named(files, folder, ("test",))
    if len(train) == 1 and len(val) == 1:
        return {"train": (train[0], image_root(train[0], folder)), "val": (val[0], image_root(val[0], folder))}
    coco = [path for path in files if _looks_like_coco(path)]
    if len(coco) == 1:
        return {"all": (coco[0], image_root(coco[0], folder))}
    listed = "\n".join(f"  {_short(path, folder)}" for path in files[:12]) or "  no .json file, or it lies too deep"
    raise DatasetError(f"--data {folder}: which files are the training and validation annotations? Found:\n{listed}\n"
                       f"Expected one of:\n{LAYOUTS}\nOr name the files yourself: instseg train --help")


def _named(files, folder, words):
    """Files whose name, or else folder, has a split's word: instances_val2017.json, val.json, valid/x.json."""
    def matches(text):
        parts = text.lower().replace("-", "_").replace(".", "_").split("_")
        return any(part.rstrip("0123456789") in words for part in parts)

    by_name = [path for path in files if matches(path.stem)]
    found = by_name or [path for path in files if path.parent != folder and matches(path.parent.name)]
    preferred = [path for path in found if path.stem.startswith("instances")]  # captions and keypoints lie beside them
    return preferred or found


def image_root(json_file, folder=None):
    """The folder in which the file's first images lie.

    Args:
        json_file: A COCO file.
        folder: Search in it and in everything below; None: in the file's own folder, the one above, and images/ in both.
    """
    json_file = Path(json_file).resolve()
    names = [name for image in _load(json_file)["images"][:20] if (name := _file_name(image))]
    near = [json_file.parent, json_file.parent / json_file.stem]
    if folder:
        candidates = [folder, *near, *sorted(path for path in folder.rglob("*") if path.is_dir() and names)]
    else:
        candidates = [*near, json_file.parent / "images", json_file.parent.parent, json_file.parent.parent / "images"]
    best = max(candidates, key=lambda root: sum(is_file(root / name) for name in names))
    if names and not any(is_file(best / name) for name in names):
        where = f"nowhere below {folder}" if folder else f"neither in {candidates[0]} nor in images/ there or above"
        raise DatasetError(f"{json_file}: its images are {where} (first: {names[0]}). "
                           "Put them into images/ beside the annotations.")
    return best


def _divide(json_file, root, folder, target, seed):
    content = read_document(json_file)
    ordered = sorted(content["images"], key=lambda image: (isinstance(image["id"], str), image["id"]))
    train, val = divided(ordered, json_file, seed)
    target.mkdir(parents=True, exist_ok=True)
    for name, part in (("val", val), ("train", train)):
        ids = {image["id"] for image in part}
        kept = [item for item in content["annotations"] if item["image_id"] in ids]
        (target / f"{name}.json").write_bytes(msgspec.json.encode({**content, "images": part, "annotations": kept}))
    found = (f"{_short(json_file, folder)}: {len(train)} images to train, {len(val)} to validate on "
             f"(divided at random, seed {seed})")
    return Splits(target / "train.json", root, target / "val.json", root, found)


def _looks_like_coco(path):
    try:
        content = _load(path)
    except DatasetError:
        return False
    return bool(content["images"]) and isinstance(content["images"][0], dict) and "file_name" in content["images"][0] and (
        "annotations" in content)


def _load(path):
    content = read_json(path, DatasetError)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DatasetError(f'{path}: not a COCO file: it has no list "images"')
    return content


def _file_name(image):
    """The name of an entry's file with slashes; None for an entry that is wrong, which the reader of the file names."""
    name = image.get("file_name") if isinstance(image, dict) else None
    return name.replace("\\", "/") if isinstance(name, str) and name and "\0" not in name else None


def _short(path, folder):
    return str(path.relative_to(folder))
