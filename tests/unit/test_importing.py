"""Annotations of other tools become COCO files that cover the same pixels."""

import base64
import io
import json

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from instance_segmentation.cli import main
from instance_segmentation.coco import read_annotations
from instance_segmentation.coco.masks import to_rle
from instance_segmentation.data.formats import rle_of_piece

SIZE_HW = 40, 60
SHAPE = [[4.25, 3.5], [30.75, 5.0], [21.0, 27.25], [9.5, 14.0]]
PART = [[40.0, 20.0], [50.0, 20.0], [50.0, 30.5]]


def photo(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE_HW, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def flat(*parts):
    return [np.ravel(part).tolist() for part in parts]


def mask_of(annotation):
    return coco_mask.decode(to_rle(annotation["segmentation"], SIZE_HW))


def imported(capsys, source, *arguments):
    """Exit code and all that was printed."""
    code = main.main(["import-data", str(source), *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def read(folder, split, root=None):
    return read_annotations([folder / f"{split}.json"], root or folder)


# labelme


def labelme(folder, name, *shapes, **changes):
    photo(folder / f"{name}.jpg")
    content = dict(version="5.5.0", shapes=list(shapes), imagePath=f"{name}.jpg", imageHeight=SIZE_HW[0], imageWidth=SIZE_HW[1])
    (folder / f"{name}.json").write_text(json.dumps({**content, **changes}))


def shape(label, points, kind="polygon", **more):
    return dict(label=label, points=points, shape_type=kind, group_id=None, flags={}, **more)


def test_labelme_shapes_of_every_type(tmp_path, capsys):
    piece = np.zeros((5, 7), np.uint8)
    piece[1:4, 2:6] = 255
    png = io.BytesIO()
    Image.fromarray(piece).save(png, "PNG")
    folder = tmp_path / "train"
    labelme(folder, "a", shape("nut", SHAPE), {**shape("fig", SHAPE), "group_id": 1}, {**shape("fig", PART), "group_id": 1},
            shape("nut", [[50, 10], [50, 15]], "circle"), shape("nut", [[1, 1], [9, 9]], "rectangle"),
            shape("nut", [[10, 5], [16, 9]], "mask", mask=base64.b64encode(png.getvalue()).decode()),
            shape("nut", [[1, 1], [9, 9]], "line"), imagePath="..\\elsewhere\\a.jpg")
    labelme(tmp_path / "val", "b")
    code, out = imported(capsys, tmp_path)
    assert code == 0 and "Format      labelme" in out and "Classes     fig, nut (2)" in out
    assert '1 shape of the type "line"' in out and "1 box without a mask" in out and "--val-ann-files" in out
    data = read(tmp_path, "train")
    polygon, grouped, circle, mask = sorted(data.annotations, key=lambda item: item["id"])
    assert polygon["segmentation"] == flat(SHAPE) and grouped["segmentation"] == flat(SHAPE, PART)
    assert [data.classes[item["category_id"] - 1] for item in data.annotations] == ["nut", "fig", "nut", "nut"]
    assert mask_of(circle).sum() == pytest.approx(np.pi * 25, rel=0.05)
    assert np.array_equal(mask_of(mask)[5:10, 10:17], piece > 0) and mask_of(mask).sum() == 12
    assert len(read(tmp_path, "val").images) == 1
    code, out = imported(capsys, tmp_path)
    assert code == 1 and "train.json exists, and nothing is replaced" in out
    assert imported(capsys, tmp_path, "--save-to", tmp_path / "boxes", "--boxes-as-masks")[0] == 0
    assert len(read(tmp_path / "boxes", "train", tmp_path).annotations) == 5


def test_labelme_without_splits_sets_a_fifth_aside(tmp_path, capsys):
    for index in range(10):
        labelme(tmp_path, f"photo{index}", shape("nut", SHAPE))
    assert imported(capsys, tmp_path)[0] == 0
    names = [{image["file_name"] for image in read(tmp_path, split).images} for split in ("train", "val")]
    assert list(map(len, names)) == [8, 2] and not names[0] & names[1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"imagePath": "c.jpg"},
     "1 file without its image, which is neither where the file says, nor beside it, nor inside it (a.json: c.jpg)"),
    ({"shapes": [{"points": [[1, 2]]}]}, "1 shape cannot be read; correct or delete it with labelme (a.json: KeyError: 'label')"),
], ids=["no image", "no label"])
def test_labelme_files_that_cannot_be_read(tmp_path, capsys, changes, message):
    labelme(tmp_path, "a", shape("nut", SHAPE), **changes)
    if "imagePath" in changes:
        (tmp_path / "a.jpg").unlink()
    code, out = imported(capsys, tmp_path)
    assert code == 1 and "a.json" in out and message in out


# YOLO


def yolo(folder, images, labels):
    """A data set in Ultralytics' layout; labels {image: lines}."""
    for split, names in images.items():
        for name in names:
            photo(folder / "images" / split / name, seed=len(name))
            if name in labels:
                file = (folder / "labels" / split / name).with_suffix(".txt")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(labels[name])
    config = dict(path=".", train="images/train", val="images/val", names={0: "nut", 1: "fig"})
    (folder / "data.yaml").write_text(yaml.safe_dump(config))
    return folder


def line(label, points):
    return " ".join([str(label), *(f"{value:.9f}" for value in (np.array(points) / SIZE_HW[::-1]).ravel())])


def test_yolo_polygons_keep_their_points(tmp_path, capsys):
    labels = {"a.jpg": line(1, SHAPE) + "\n\n" + line(0, PART) + "\n0 0.5 0.5 0.2 0.2\n"}
    source = yolo(tmp_path, {"train": ["a.jpg", "empty.jpg"], "val": ["b.jpg"]}, labels)
    code, out = imported(capsys, source)
    assert code == 0 and "Format      yolo" in out and "1 box without a mask" in out
    data = read(source, "train")
    assert data.classes == ("nut", "fig") and len(data.images) == 2
    assert [item["category_id"] for item in data.annotations] == [2, 1]
    for item, points in zip(data.annotations, (SHAPE, PART), strict=True):
        np.testing.assert_allclose(item["segmentation"], flat(points), atol=1e-6)


def test_yolo_of_roboflow_lies_beside_its_yaml(tmp_path, capsys):
    for split in ("train", "valid"):
        photo(tmp_path / split / "images" / "a.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text(line(0, SHAPE))
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: ['nut']\nnc: 1\n")
    assert imported(capsys, tmp_path / "data.yaml")[0] == 0
    assert len(read(tmp_path, "train").annotations) == len(read(tmp_path, "val").annotations) == 1


@pytest.mark.parametrize(("text", "message"), [
    ("7 0.1 0.1 0.2 0.2 0.3 0.1", "(labels/train/a.txt:1: class 7; the names have 0, 1)"),
    ("0 0.1 0.1 0.2 0.2 0.3", "odd number of coordinates; expected pairs x y (labels/train/a.txt:1: 5 coordinates)"),
    ("0 0.1 oops", "without a class number and coordinates from 0 to 1; correct or delete it (labels/train/a.txt:1: 0 0.1 oops)"),
], ids=["class", "odd", "text"])
def test_yolo_lines_that_cannot_be_read(tmp_path, capsys, text, message):
    code, out = imported(capsys, yolo(tmp_path, {"train": ["a.jpg"], "val": ["b.jpg"]}, {"a.jpg": text}))
    assert code == 1 and message in out


def test_yolo_folder_that_is_not_there(tmp_path, capsys):
    code, out = imported(capsys, yolo(tmp_path, {"train": ["a.jpg"]}, {}))
    assert code == 1 and "1 folder of images that does not exist; correct the path (images/val, named in data.yaml)" in out


# VOC and CVAT


def test_voc_masks(tmp_path, capsys):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Segmentation", "SegmentationClass", "SegmentationObject", "Annotations"):
        (root / folder).mkdir(parents=True)
    objects = np.zeros(SIZE_HW, np.uint8)
    objects[5:20, 5:30], objects[25:35, 40:55], objects[24, 40:55] = 1, 2, 255  # the last is the rim
    classes = np.select([objects == 1, objects == 2, objects == 255], [12, 8, 255], 0).astype(np.uint8)  # dog, cat
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 2, 8, 12, 255]] = [(128, 0, 0), (0, 128, 0), (64, 0, 0), (64, 0, 128), (224, 224, 192)]  # as VOC publishes them
    for split, name in (("train", "a"), ("val", "b")):
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(name + "\n")
        photo(root / "JPEGImages" / f"{name}.jpg")
        for folder, mask in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            picture = Image.fromarray(mask, "P")
            picture.putpalette(palette.ravel().tolist())
            picture.save(root / folder / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "trainval.txt").write_text("a\nb\n")
    code, out = imported(capsys, tmp_path)
    assert code == 0 and "Format      voc" in out
    for split in ("train", "val"):
        data = read(tmp_path, split)
        found = {data.classes[item["category_id"] - 1]: mask_of(item).astype(bool) for item in data.annotations}
        assert len(data.images) == 1 and set(found) == {"dog", "cat"}
        assert np.array_equal(found["dog"], objects == 1) and np.array_equal(found["cat"], objects == 2)
    assert not (tmp_path / "trainval.json").exists()
    (root / "SegmentationObject" / "a.png").unlink()
    code, out = imported(capsys, tmp_path, "--save-to", tmp_path / "again")
    assert code == 0 and "2 regions of a class" in out and "again/train.json: 1 image, 0 objects" in out


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>1</id><name>nuts</name><size>2</size><mode>annotation</mode><labels>
<label><name>nut</name><attributes></attributes></label><label><name>fig</name><attributes></attributes></label>
</labels></task></meta>
<image id="0" name="a.jpg" width="60" height="40">
<polygon label="nut" occluded="0" points="{shape}" z_order="0"></polygon>
<polygon label="fig" occluded="0" points="{shape}" z_order="0" group_id="1"></polygon>
<polygon label="fig" occluded="0" points="{part}" z_order="0" group_id="1"></polygon>
<mask label="nut" occluded="0" rle="3, 2, 4, 3" left="10" top="5" width="4" height="3" z_order="0"></mask>
<box label="nut" occluded="0" xtl="1" ytl="2" xbr="11" ybr="12" z_order="0"></box>
<polyline label="nut" occluded="0" points="1,2;3,4" z_order="0"></polyline>
</image>
<image id="1" name="b.jpg" width="60" height="40"></image>
</annotations>"""


def test_cvat_polygons_masks_and_groups(tmp_path, capsys):
    for name in ("a", "b"):
        photo(tmp_path / "images" / f"{name}.jpg", seed=ord(name))
    shape, part = (";".join(f"{x},{y}" for x, y in points) for points in (SHAPE, PART))
    (tmp_path / "annotations.xml").write_text(CVAT.format(shape=shape, part=part))
    code, out = imported(capsys, tmp_path, "--boxes-as-masks")
    assert code == 0 and "Format      cvat" in out and 'of the type "polyline"' in out
    data = max((read(tmp_path, split) for split in ("train", "val")), key=lambda data: len(data.annotations))
    polygon, grouped, mask, box = data.annotations
    assert polygon["segmentation"] == flat(SHAPE) and grouped["segmentation"] == flat(SHAPE, PART)
    expected = np.repeat([0, 1, 0, 1], [3, 2, 4, 3]).reshape(3, 4)  # row by row
    assert np.array_equal(mask_of(mask)[5:8, 10:14], expected) and mask_of(mask).sum() == 5
    assert box["bbox"] == [1, 2, 10, 10]


def test_a_format_that_it_is_not(tmp_path, capsys):
    labelme(tmp_path, "a", shape("nut", SHAPE))
    code, out = imported(capsys, tmp_path, "--format", "voc")
    assert code == 1 and "Expected one of:\n  voc: the folders SegmentationClass" in out and "labelme" not in out


@pytest.mark.parametrize(("source", "message"), [("", "its format is not recognised. Expected one of:\n  yolo: a data.yaml"),
                                                 ("nowhere", "no such file or folder")], ids=["unknown", "missing"])
def test_what_is_no_data_set(tmp_path, capsys, source, message):
    code, out = imported(capsys, tmp_path / source)
    assert code == 1 and message in out


@pytest.mark.parametrize("seed", range(40))
def test_the_rle_of_a_piece_is_that_of_the_whole_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2).tolist()
    left, top = int(rng.integers(width)), int(rng.integers(height))
    piece = rng.random(rng.integers(1, 9, 2)) < rng.choice([0.1, 0.5, 0.9, 1.0])
    mask = np.zeros((height, width), np.uint8, order="F")
    inside = piece[:height - top, :width - left]
    mask[top:top + inside.shape[0], left:left + inside.shape[1]] = inside
    expected = coco_mask.encode(mask)["counts"].decode()
    assert rle_of_piece(piece, left, top, (height, width)) == {"size": [height, width], "counts": expected}
