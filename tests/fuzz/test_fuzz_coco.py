"""Hostile COCO files: whatever reads them takes them or says in a sentence why not."""

import contextlib
import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from instance_segmentation import api
from instance_segmentation.coco import read_annotations
from instance_segmentation.data.layouts import find_splits
from instance_segmentation.errors import InstSegError
from instance_segmentation.records.provenance import data_records

from .harness import run

WIDTH, HEIGHT = 64, 48
ODD = (None, True, -1, 0, 1, 7, 0.5, -0.0, 1e308, -1e308, 10**400, 2**31, 2**63, 2**64, float("nan"), float("inf"), "", " ", "1",
       "é", "\0", "../../etc/passwd", "/etc/passwd", "x" * 5000,
       "\ud800", "\x1b]0;x\7", "[/b]", [], {}, [[]], [[[]]], [None], {"a": 1})
SPOTS = ("id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd", "ignore", "file_name", "width", "height",
         "name", "size", "counts", "supercategory", "deleted")


def document_of(rng):
    """A small right document of polygons and both kinds of RLE."""
    images = [{"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT} for number in range(1, 5)]
    objects = [{"id": number, "image_id": rng.randint(1, 4), "category_id": rng.randint(1, 3), **shape(rng)}
               for number in range(1, rng.randint(2, 12))]
    categories = [{"id": number, "name": f"class {number}", "supercategory": "none"} for number in range(1, 4)]
    return {"info": {}, "images": images, "annotations": objects, "categories": categories}


def shape(rng):
    """Box, area and mask of an object."""
    x, y, w, h = rng.randint(0, 40), rng.randint(0, 30), rng.randint(2, 20), rng.randint(2, 15)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y:y + h, x:x + w] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    runs = [x * HEIGHT + y, *[h, HEIGHT - h] * (w - 1), h]
    segmentation = rng.choice([
        [[x, y, x + w, y, x + w, y + h, x, y + h]], {"size": [HEIGHT, WIDTH], "counts": rle},
        {"size": [HEIGHT, WIDTH], "counts": [*runs, HEIGHT * WIDTH - sum(runs)]}])
    return {"bbox": [x, y, w, h], "area": w * h, "iscrowd": int(rng.random() < 0.1), "segmentation": segmentation}


def places(value, path=()):
    """Yield the path of everything in a document."""
    if path:
        yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


def spoil(document, rng):
    """Change one thing of a document, in place."""
    known = list(places(document))
    path = rng.choice([path for path in known if path[-1] in SPOTS] or known) if rng.random() < 0.5 else rng.choice(known)
    home = document
    for key in path[:-1]:
        home = home[key]
    kind = rng.random()
    if kind < 0.2:
        del home[path[-1]]
    elif kind < 0.3 and isinstance(home, list):
        home.append(copy.deepcopy(home[path[-1]]))
    elif kind < 0.45 and isinstance(home[path[-1]], (int, float)) and abs(home[path[-1]]) < 1e9:
        home[path[-1]] *= rng.choice([-1, 0, 1e-3, 1000, 1_000_000, 0.5])
    elif kind < 0.55 and isinstance(home[path[-1]], str):
        home[path[-1]] = changed_text(home[path[-1]], rng)
    elif kind < 0.65 and "segmentation" in path:
        home[path[-1]] = large(rng)
    else:
        home[path[-1]] = copy.deepcopy(rng.choice(ODD))


def changed_text(text, rng):
    """Cut, repeat or damage a text."""
    place = rng.randint(0, len(text))
    return rng.choice([text[:place], text * rng.randint(2, 60), text[:place] + chr(rng.randint(0, 300)) + text[place:],
                       text.replace("/", "\\") + "\\", text.upper()])


def large(rng):
    """Polygons that cost much: long zigzags, many parts, fine rings inside each other."""
    angle = np.arange(rng.choice([50, 5000])) * 0.1

    def ring(radius):
        return np.stack([32 + radius * np.cos(angle), 24 + radius * np.sin(angle)], 1).ravel().tolist()

    return rng.choice([lambda: [[-999_999, 0, 999_999, 48] * rng.randint(1, 2000)], lambda: [[0, 0, 64, 48] * 3000],
                       lambda: [[x % 60, 1, 4 + x % 60, 1, x % 60, 5] for x in range(rng.choice([100, 3000]))],
                       lambda: [ring(20), ring(10)], lambda: ring(20)])()


def content_of(seed):
    """Bytes of a hostile file: up to four things changed, then, sometimes, its text."""
    rng = random.Random(seed)
    document = document_of(rng)
    for _ in range(rng.randint(0, 4)):
        if isinstance(document, dict) and document:
            spoil(document, rng)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.7)
    kind = rng.random()
    if kind < 0.06:
        place = rng.randint(0, len(text))
        middle = rng.choice(["", "}", "[" * 100_000, "9" * 5000, "\0", "NaN", "\\ud800"])
        text = text[:place] + middle + text[place + rng.randint(0, 3):]
    elif kind < 0.1:
        text = rng.choice(["", "[]", "null", "7", '"x"', "{}", '{"images": []}',
                           '{"images": 3, "annotations": [], "categories": []}',
                           "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"])
    return text.encode(rng.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1"]), errors="replace")


def written(seed, folder, name="all.json"):
    """A folder with a hostile file and its four images; path of the file."""
    for number in range(1, 5):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 9, 9)).save(folder / f"{number}.png")
    path = folder / name
    path.write_bytes(content_of(seed))
    return path


def case_read(seed, folder):
    """Read as training does, write what training reads, describe it as the run lock does."""
    path = written(seed, folder)
    with contextlib.suppress(InstSegError):
        data_records([path], [folder])
    annotations = read_annotations([path], [folder])
    annotations.write(folder / "normal.json", masks="polygon")
    again = read_annotations([folder / "normal.json"], [folder])
    assert len(again.annotations) == len(annotations.annotations)
    data_records([path], [folder])


def case_fix(seed, folder):
    """The doctor, with a repaired copy; what it writes is right."""
    path = written(seed, folder)
    api.check_data(train_ann_files=[path], train_data_roots=[folder], similar=False, fix=folder / "fixed",
                   save_json=folder / "findings.json")
    read_annotations([folder / "fixed/train.json"], [Path("/")])


def case_folder(seed, folder):
    """The doctor with a folder."""
    written(seed, folder, "train.json")
    written(seed + 1_000_000, folder, "val.json")
    api.check_data(folder)


def case_split(seed, folder):
    """Quickstart's division of one file."""
    written(seed, folder)
    splits = find_splits(folder, folder / "split")
    for file, root in ((splits.train_json, splits.train_root), (splits.val_json, splits.val_root)):
        with contextlib.suppress(InstSegError):  # no object may be left of a part
            read_annotations([file], [root])


def case_tools(seed, folder):
    """instseg coco."""
    path = written(seed, folder)
    tool = random.Random(seed).choice([
        lambda: api.coco_stats(path, folder / "stats.json"), lambda: api.crop_coco(path, folder / "crops"),
        lambda: api.split_coco(path, [folder / "a.json", folder / "b.json"], [1, 1], stratify=seed % 2 == 0),
        lambda: api.combine_coco([path], folder / "joined.json")])
    tool()


@pytest.mark.parametrize("case, first", [(case_read, 0), (case_fix, 10_000), (case_folder, 20_000), (case_split, 30_000),
                                         (case_tools, 40_000)])
def test_hostile_coco_files(case, first, tmp_path):
    run(case, int(__import__("os").environ.get("N","2500")), tmp_path, first).assert_clean()
