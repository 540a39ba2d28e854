"""Annotations of other tools, damaged: values, structure, bytes and encodings of labelme, YOLO, CVAT, VIA and VOC files."""

import json
import random

import numpy as np
import pytest
import yaml
from PIL import Image

from instance_segmentation.data.importing import import_data

from .harness import run

WIDTH, HEIGHT = 60, 40
ODD = (None, True, -1, 0, 1, 7, 0.5, 1e308, -1e308, 10**30, 2**63, "", "1", "é", "\0", "../../x", "/etc/passwd", "C:\\x\\a.jpg",
       "x" * 3000, "\ud800", "\x1b]0;x\7", "[/b]", "nan", "inf", [], {}, [[]], [None], {"a": 1}, [[1, 2]], [1, 2, 3])
OUTLINE = [[4, 3], [30, 5], [21, 27], [9, 14]]


def spoilt(value, rng):
    """The value with one thing in it replaced, removed or doubled, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: spoilt(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            return value[:place] + value[place + 1:]
        if kind < 0.2:
            return value + [value[place]] * rng.choice([1, 500])
        return [*value[:place], spoilt(value[place], rng), *value[place + 1:]]
    return rng.choice(ODD)


def damaged(text, rng):
    """Bytes of a text: as they are, cut, with something in between, or in another encoding."""
    kind = rng.random()
    if kind < 0.15:
        place = rng.randrange(len(text) + 1)
        middle = rng.choice(["", "}", "<", "[" * 50_000, "9" * 5000, "\0", "&a;", "\n- "])
        text = text[:place] + middle + text[place + rng.randrange(9):]
    elif kind < 0.2:
        text = text[:rng.randrange(len(text) + 1)]
    return text.encode(rng.choice(["utf-8"] * 7 + ["utf-8-sig", "utf-16", "latin-1"]), errors="replace")


def photos(folder, *names):
    """Write small images."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)


def labelme(rng, folder):
    """Three files with a shape of each type."""
    photos(folder, "a.jpg", "b.jpg")
    for name in "abc":
        shapes = [dict(label="nut", points=OUTLINE, shape_type=kind, group_id=rng.choice([None, 1]), flags={})
                  for kind in ("polygon", "rectangle", "circle", "line", "mask", "oriented_rectangle")]
        content = dict(version="5", shapes=shapes, imagePath=f"{name}.jpg", imageHeight=HEIGHT, imageWidth=WIDTH, imageData=None)
        for _ in range(rng.randrange(4)):
            content = spoilt(content, rng)
        text = json.dumps(content)
        (folder / f"{name}.json").write_bytes(damaged(text, rng))


def yolo(rng, folder):
    """A data.yaml, an obj.data or a classes.txt with its labels."""
    photos(folder, "images/train/a.jpg", "images/val/b.jpg")
    for split, name in (("train", "a"), ("val", "b")):
        lines = ["0 0.1 0.1 0.5 0.1 0.5 0.6", "1 0.5 0.5 0.2 0.2"]
        for _ in range(rng.randrange(3)):
            words = lines[0].split()
            words[rng.randrange(len(words))] = str(rng.choice(ODD))
            lines.append(" ".join(words))
        (folder / "labels" / split).mkdir(parents=True)
        (folder / "labels" / split / f"{name}.txt").write_bytes(damaged("\n".join(lines), rng))
    config = dict(path=".", train="images/train", val="images/val", names=["nut", "fig"])
    for _ in range(rng.randrange(3)):
        config = spoilt(config, rng)
    kind = rng.random()
    if kind < 0.7:
        (folder / "data.yaml").write_bytes(damaged(yaml.safe_dump(config), rng))
    elif kind < 0.85:
        (folder / "obj.names").write_text("nut\nfig\n")
        (folder / "obj.data").write_bytes(damaged("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n", rng))
        (folder / "train.txt").write_bytes(damaged("data/images/train/a.jpg\n", rng))
    else:
        (folder / "classes.txt").write_bytes(damaged("nut\nfig\n", rng))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><meta><job><labels><label><name>nut</name></label><label><name>fig</name><type>any</type></label></labels>
<original_size><width>60</width><height>40</height></original_size></job></meta>
<image id="0" name="a.jpg" width="60" height="40"><polygon label="nut" points="4,3;30,5;21,27" group_id="1"></polygon>
<mask label="nut" rle="3, 2, 4, 3" left="10" top="5" width="4" height="3"></mask>
<box label="fig" xtl="1" ytl="2" xbr="11" ybr="12" rotation="30"></box>
<ellipse label="nut" cx="20" cy="20" rx="5" ry="3"></ellipse><tag label="fig"></tag></image>
<track id="0" label="nut"><polygon frame="1" points="4,3;30,5;21,27" outside="0"></polygon></track></annotations>"""


def cvat(rng, folder):
    """An XML with attributes replaced."""
    photos(folder, "a.jpg", "frame_000001.PNG")
    text = CVAT
    for _ in range(rng.randrange(4)):
        parts = text.split('"')
        value = str(rng.choice([*ODD, "1e999", "3, 2, -4", "9" * 400, "1,2", ";;"]))
        parts[rng.randrange(1, len(parts), 2)] = value.replace("\0", "&#0;")
        text = '"'.join(parts)
    if rng.random() < 0.05:
        text = text.replace("<annotations>", '<!DOCTYPE a [<!ENTITY a "x">]><annotations>', 1)
    (folder / "annotations.xml").write_bytes(damaged(text, rng))


def via(rng, folder):
    """VIA's annotations or project."""
    photos(folder, "a.jpg", "b.jpg")
    shapes = [dict(name="polygon", all_points_x=[4, 30, 21], all_points_y=[3, 5, 27]),
              dict(name="rect", x=1, y=2, width=9, height=9), dict(name="circle", cx=20, cy=20, r=5),
              dict(name="ellipse", cx=20, cy=20, rx=5, ry=3, theta=0.3), dict(name="point", cx=1)]
    regions = [dict(shape_attributes=shape, region_attributes=dict(type=rng.choice(["nut", {"fig": True}]))) for shape in shapes]
    content = {f"{name}.jpg12": dict(filename=f"{name}.jpg", size=12, regions=regions) for name in "ab"}
    for _ in range(rng.randrange(4)):
        content = spoilt(content, rng)
    if rng.random() < 0.3:
        content = dict(_via_settings={}, _via_img_metadata=content)
    (folder / "via.json").write_bytes(damaged(json.dumps(content), rng))


def voc(rng, folder):
    """Label pictures of any mode, size and content."""
    photos(folder, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    for kind in ("SegmentationClass", "SegmentationObject"):
        (folder / kind).mkdir()
        for name in "ab":
            size = (WIDTH, HEIGHT) if rng.random() < 0.9 else (rng.randrange(1, 99), rng.randrange(1, 99))
            codes = np.random.default_rng(rng.randrange(9)).integers(0, rng.choice([2, 5, 256]), size[::-1], np.uint8)
            path = folder / kind / f"{name}.png"
            mode = rng.choice(["L", "P", "RGB", "1", "RGBA", "LA", "I;16"])
            picture = Image.fromarray(codes * np.uint16(200)) if mode == "I;16" else Image.fromarray(codes).convert(mode)
            picture.save(path)
            if rng.random() < 0.2:
                content = bytearray(path.read_bytes())
                content[rng.randrange(len(content))] = rng.randrange(256)
                path.write_bytes(content[:rng.randrange(1, len(content) + 1)] if rng.random() < 0.3 else content)
    if rng.random() < 0.5:
        (folder / "labelmap.txt").write_bytes(damaged("background:0,0,0::\nnut:128,0,0::\n", rng))


MAKERS = dict(labelme=labelme, yolo=yolo, cvat=cvat, via=via, voc=voc)


def imported(kind, seed, folder):
    """Make a data set and import it, with what is bad or without."""
    rng = random.Random(f"{kind} {seed}")
    MAKERS[kind](rng, folder)
    import_data(folder, format=rng.choice([None, kind]), save_to=folder / "out", boxes_as_masks=rng.random() < 0.5,
                skip_bad=rng.random() < 0.7, group_by=rng.choice([None, None, "folder", "(a|b)", "("]))


def case_labelme(seed, folder):
    """labelme."""
    imported("labelme", seed, folder)


def case_yolo(seed, folder):
    """YOLO."""
    imported("yolo", seed, folder)


def case_cvat(seed, folder):
    """CVAT."""
    imported("cvat", seed, folder)


def case_via(seed, folder):
    """VIA."""
    imported("via", seed, folder)


def case_voc(seed, folder):
    """VOC."""
    imported("voc", seed, folder)


@pytest.mark.parametrize("case", [case_labelme, case_yolo, case_cvat, case_via, case_voc], ids=lambda case: case.__name__)
def test_damaged_annotations_of_other_tools(case, tmp_path):
    run(case, 2000, tmp_path).assert_clean()
