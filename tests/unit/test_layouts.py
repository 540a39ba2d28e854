"""Which files `--data DIR` finds."""

import json

import pytest
from PIL import Image

from instance_segmentation.coco import read_annotations
from instance_segmentation.data.layouts import find_splits
from instance_segmentation.data.named import find_dataset
from instance_segmentation.errors import DatasetError
from instance_segmentation.records.provenance import data_records


def build(folder, files):
    """Write a tree: a list of image names becomes a COCO file, anything else text."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            images = [{"id": i, "file_name": image, "width": 4, "height": 4} for i, image in enumerate(content)]
            notes = [{"id": i, "image_id": i, "category_id": 1} for i in range(len(content))]
            content = json.dumps({"images": images, "annotations": notes, "categories": [{"id": 1, "name": "a"}]})
        path.write_text(content)
    return folder


LAYOUTS = {
    "flat": ({"train.json": ["a.jpg"], "val.json": ["b.jpg"], "train/a.jpg": "", "val/b.jpg": ""}, "train", "val"),
    "coco": ({"annotations/instances_train2017.json": ["a.jpg"], "annotations/instances_val2017.json": ["b.jpg"],
              "annotations/captions_train2017.json": ["a.jpg"], "annotations/captions_val2017.json": ["b.jpg"],
              "train2017/a.jpg": "", "val2017/b.jpg": ""}, "train2017", "val2017"),
    "one folder of images": (
        {"annotations/instances_train.json": ["a.jpg"], "annotations/instances_val.json": ["b.jpg"],
         "annotations/original_trainval.json": ["a.jpg", "b.jpg"], "images/a.jpg": "", "images/b.jpg": ""},
        "images", "images"),
    "images below images": (
        {"annotations/instances_train2017.json": ["a.jpg"], "annotations/instances_val2017.json": ["b.jpg"],
         "images/train2017/a.jpg": "", "images/val2017/b.jpg": ""}, "images/train2017", "images/val2017"),
    "roboflow": ({"train/_annotations.coco.json": ["a.jpg"], "valid/_annotations.coco.json": ["b.jpg"],
                  "test/_annotations.coco.json": ["c.jpg"], "train/a.jpg": "", "valid/b.jpg": "", "test/c.jpg": ""},
                 "train", "valid"),
    "nested names": ({"train.json": ["x/a.jpg"], "val.json": ["x/b.jpg"], "photos/x/a.jpg": "", "photos/x/b.jpg": ""},
                     "photos", "photos"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_usual_layouts_are_found(tmp_path, layout):
    files, train_root, val_root = LAYOUTS[layout]
    splits = find_splits(build(tmp_path, files), split_into=tmp_path / "split")
    assert (splits.train_root, splits.val_root) == (tmp_path / train_root, tmp_path / val_root)
    assert "a.jpg" in splits.train_json.read_text()
    assert "b.jpg" in splits.val_json.read_text()
    assert splits.train_json.name in splits.found


def test_one_file_is_divided_the_same_way_each_time(tmp_path):
    names = [f"{i}.jpg" for i in range(10)]
    data = build(tmp_path / "data", {"all.json": names, **{f"images/{name}": "" for name in names}})
    first = find_splits(data, split_into=tmp_path / "one")
    again = find_splits(data, split_into=tmp_path / "two")
    train, val = (json.loads(path.read_text()) for path in (first.train_json, first.val_json))
    assert (len(train["images"]), len(val["images"])) == (8, 2)
    assert sorted(image["file_name"] for part in (train, val) for image in part["images"]) == names
    assert {item["image_id"] for item in val["annotations"]} == {image["id"] for image in val["images"]}
    assert first.val_json.read_bytes() == again.val_json.read_bytes()
    assert "8 images to train, 2 to validate" in first.found
    assert first.train_root == data / "images"


def test_unknown_layout_lists_what_is_there_and_what_is_expected(tmp_path):
    build(tmp_path, {"red.json": ["a.jpg"], "blue.json": ["a.jpg"], "a.jpg": ""})
    with pytest.raises(DatasetError, match=r"(?s)blue\.json.*red\.json.*Expected one of.*annotations/instances_train"):
        find_splits(tmp_path, split_into=tmp_path / "split")


@pytest.mark.parametrize(("files", "message"), [
    pytest.param({"train.json": ["a.jpg"], "val.json": ["b.jpg"]}, "images are nowhere below", id="no images"),
    pytest.param({"train.json": "{", "val.json": ["b.jpg"]}, "not valid JSON", id="broken json"),
    pytest.param({"train.json": "[]", "val.json": ["b.jpg"]}, "not a COCO file", id="not COCO"),
    pytest.param({"readme.txt": ""}, "no .json file", id="empty folder"),
    pytest.param({"all.json": ["a.jpg"], "a.jpg": ""}, "at least 2 are needed", id="one image"),
])
def test_unusable_folder_is_an_error(tmp_path, files, message):
    with pytest.raises(DatasetError, match=message):
        find_splits(build(tmp_path, files), split_into=tmp_path / "split")


def spoilt(change):
    """Bytes of a COCO file of four images, changed."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(4)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0,
                "segmentation": [[1, 1, 10, 1, 10, 10, 1, 10]]} for i in range(4)]
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "Apfelgrün"}]}
    changed = change(document)
    return changed if isinstance(changed, bytes) else json.dumps(document).encode()


READABLE = {
    "a byte order mark": lambda document: json.dumps(document).encode("utf-8-sig"),
    "UTF-16": lambda document: json.dumps(document).encode("utf-16"),
    "Latin-1": lambda document: json.dumps(document, ensure_ascii=False).encode("latin-1"),
    "NaN in a key that nobody reads": lambda document: document["annotations"][0].update(score=float("nan")),
}
WRONG = {
    "null": lambda document: b"null",
    "too deep": lambda document: b"[" * 100_000,
    "a number of 5000 digits": lambda document: b'{"images": ' + b"1" * 5000 + b"}",
    "an image that is a number": lambda document: document["images"].__setitem__(0, 7),
    "a name that is a number": lambda document: document["images"][0].update(file_name=7),
    "a name that is a list": lambda document: document["images"][0].update(file_name=["0.png"]),
    "an image without id": lambda document: document["images"][0].pop("id"),
    "an image id that is a list": lambda document: document["images"][0].update(id=[1]),
    "an object without image": lambda document: document["annotations"][0].pop("image_id"),
    "objects that are a number": lambda document: document.update(annotations=3),
}


@pytest.mark.parametrize("kind", [*READABLE, *WRONG])
def test_every_reader_of_a_coco_file_takes_what_the_check_takes(tmp_path, kind):
    path = tmp_path / "all.json"
    path.write_bytes(spoilt((READABLE | WRONG)[kind]))
    for number in range(4):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    readers = (lambda: read_annotations([path], [tmp_path]), lambda: find_splits(tmp_path, tmp_path / "split"))
    if kind in WRONG:
        for read in readers:
            with pytest.raises(DatasetError):
                read()
        return
    annotations, splits = (read() for read in readers)
    assert annotations.classes == find_dataset(str(path)).classes == ("Apfelgrün",)
    assert read_annotations([splits.train_json], [splits.train_root]).classes == ("Apfelgrün",)
    assert data_records([path], [tmp_path])[0]["images"] == 4


def test_names_that_no_file_can_have_are_missing_images(tmp_path):
    path = tmp_path / "all.json"
    path.write_bytes(spoilt(lambda document: document["images"][0].update(file_name="x" * 5000)))
    for number in range(4):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    assert find_splits(tmp_path, tmp_path / "split").train_root == tmp_path
    assert data_records([path], [tmp_path])[0]["images"] == 4
    with pytest.raises(DatasetError, match="1 image"):
        read_annotations([path], [tmp_path])


def test_missing_folder_names_the_flag(tmp_path):
    with pytest.raises(DatasetError, match="--data .*no such folder"):
        find_splits(tmp_path / "nowhere", split_into=tmp_path / "split")
