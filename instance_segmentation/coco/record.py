"""The normal form of a COCO data set, and its file."""

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from instance_segmentation.coco.findings import spelled
from instance_segmentation.errors import DatasetError

_CHUNK = 5000
"""Entries serialised at once, so that writing a train2017 does not hold its text in memory."""


@dataclass(frozen=True)
class Annotations:
    """Images and objects of one or several files, in the one form the rest of the package knows.

    Ids count from 1 (pycocotools ignores ground truth with id 0) in the order of the lists; frames are image pixels.
    """

    classes: tuple[str, ...]
    images: list[dict]
    """{"id", "file_name": absolute path, "width", "height", "source_id": id in the user's file}"""
    annotations: list[dict]
    """{"id", "image_id", "category_id": 1 + index in `classes`, "bbox": [x, y, w, h], "area", "iscrowd": 0 or 1,
    "segmentation": [[x1, y1, …], …] of floats, or {"size": [h, w], "counts": compressed RLE text}}"""
    notes: tuple[str, ...]
    """Sentences for the user: what was kept, dropped, clipped or mended, with counts and the first example."""
    source_category_ids: dict[str, int] | None
    """Class name → category id in the user's file; None when several files disagree."""

    def summary(self):
        """Return ``480 images, 3,102 objects (31 crowds, 2 images without objects)``."""
        crowds = sum(annotation["iscrowd"] for annotation in self.annotations)
        empty = len(self.images) - len({annotation["image_id"] for annotation in self.annotations})
        extras = [spelled(crowds, "crowd")] if crowds else []
        if empty:
            extras.append(f"{spelled(empty, 'image')} without objects")
        text = f"{spelled(len(self.images), 'image')}, {spelled(len(self.annotations) - crowds, 'object')}"
        return f"{text} ({', '.join(extras)})" if extras else text

    def without(self, paths):
        """Return a copy that lacks these image files and their objects."""
        images = [image for image in self.images if image["file_name"] not in paths]
        number = {image["id"]: place for place, image in enumerate(images, 1)}
        objects = [item for item in self.annotations if item["image_id"] in number]
        return replace(self, images=[dict(image, id=number[image["id"]]) for image in images], annotations=[
            dict(item, id=place, image_id=number[item["image_id"]]) for place, item in enumerate(objects, 1)])

    def write(self, path, masks="as is"):
        """Write a COCO file whose categories stand in the order of `classes`; whole or not at all.

        Args:
            path: Target; its folder is made.
            masks: ``"as is"``, or ``"polygon"`` to turn the RLE of objects into polygons, because mmdet trains on
                polygons. Crowds stay RLE: training ignores their masks.

        Returns:
            Path of the file.

        Raises:
            DatasetError: The file cannot be written (disk full, no permission); an existing one is left as it was.
        """
        if masks not in ("as is", "polygon"):
            raise ValueError(f'masks: got {masks!r}, expected "as is" or "polygon"')
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write_beside(path, _with_polygons if masks == "polygon" else list)
        except OSError as error:
            raise DatasetError(f"{path} could not be written: {error.strerror or error}. Free some space or choose"
                               " another folder.") from error
        return path

    def _write_beside(self, path, convert):
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, 1)]
                file.write(b'{"categories": ' + msgspec.json.encode(categories) + b',\n"images": ')
                _write_list(file, self.images, list)
                file.write(b',\n"annotations": ')
                _write_list(file, self.annotations, convert)
                file.write(b"}\n")
            os.chmod(draft, 0o666 & ~_umask())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise


def _write_list(file, entries, convert):
    file.write(b"[")
    for start in range(0, len(entries), _CHUNK):
        text = msgspec.json.encode(convert(entries[start : start + _CHUNK]))
        file.write((b"," if start else b"") + text[1:-1])
    file.write(b"]")


def _with_polygons(annotations):
    from instance_segmentation.coco.outlines import rle_to_polygons

    return [
        {**annotation, "segmentation": rle_to_polygons(annotation["segmentation"])}
        if isinstance(annotation["segmentation"], dict) and not annotation["iscrowd"] else annotation
        for annotation in annotations
    ]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
