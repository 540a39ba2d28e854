"""`instseg check-data`: what it finds, what it says to do, and that the repaired copy is right and the original untouched."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from pycocotools import mask as coco_mask

from instance_segmentation.cli import main
from instance_segmentation.coco import read_annotations, salvage_annotations
from instance_segmentation.coco.copies import same_files, similar_pictures
from instance_segmentation.coco.masks import to_rle
from instance_segmentation.data.object_sizes import SMALLEST_PX, TOLERATED, suggest

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
NEXT = (f"Next        instseg new {TEMPLATE} my_work\n"
        "            python my_work/train.py --load-weights my_work/snapshot.pth")


@pytest.fixture
def data(sample_data, tmp_path):
    """A copy of the sample data set that a test may spoil."""
    return shutil.copytree(sample_data, tmp_path / "data")


def edited(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def check(capsys, *arguments):
    """Exit code, what was printed, and what was complained about."""
    code = main.main(["check-data", *map(str, arguments)])
    return code, *capsys.readouterr()


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def add_to_train(data, name, like):
    """Give train a picture, with the objects of one that it has."""
    def change(document):
        twin = next(image for image in document["images"] if image["file_name"] == like)
        document["images"].append({**twin, "id": 1000 + len(document["images"]), "file_name": name})
    edited(data / "train.json", change)


# What it says


def test_good_data_gets_a_table_a_template_and_the_next_command(data, capsys):
    code, out, err = check(capsys, data, "--save-json", data / "findings.json")
    assert (code, err) == (0, "")
    assert "PROBLEM" not in out and f"Template    {TEMPLATE}\n            0% of the objects are too small for {TEMPLATE}\n" in out
    assert f"{NEXT} --train-ann-files {data}/train.json" in out
    record = json.loads((data / "findings.json").read_text())
    assert record["data"]["val"]["images"] == 4 and record["fixed"] == {}
    truth = json.loads((data / "train.json").read_text())
    for category in truth["categories"]:
        ids = [item["image_id"] for item in truth["annotations"]
               if item["category_id"] == category["id"] and not item["iscrowd"]]
        assert record["data"]["train"]["classes"][category["name"]] == {"objects": len(ids), "images": len(set(ids))}


def test_the_photos_of_the_tutorial_are_good(data_root, capsys):
    code, out, _ = check(capsys, data_root / "strawberry")
    assert code == 0 and "train 60 images, 194 objects · val 10 images, 22 objects" in out and "Warning" not in out


def test_problems_warnings_and_their_remedies(data, capsys):
    (data / "val" / json.loads((data / "val.json").read_text())["images"][0]["file_name"]).unlink()

    def change(document):
        kept = document["categories"][0]["id"]
        rare = [item for item in document["annotations"] if item["category_id"] != kept]
        document["annotations"] = [item for item in document["annotations"] if item["category_id"] == kept] + rare[:1]
    edited(data / "train.json", change)
    code, out, err = check(capsys, data)
    assert code == 1 and "1 problem: training refuses this data" in err
    assert "PROBLEM     val: 1 image is listed but not in" in out and "→ correct it, or let --fix leave it out" in out
    assert "Warning     train: 3 classes with fewer than 10 objects: " in out and "→ label more of them" in out
    assert "Next        the same command with --fix repaired" in out


def test_warnings_are_an_error_only_when_asked(data, capsys):
    edited(data / "val.json", lambda document: document.update(
        annotations=[item for item in document["annotations"] if item["category_id"] != document["categories"][-1]["id"]]))
    code, out, _ = check(capsys, data)
    assert code == 0 and "Warning     val: 1 class without an object, whose AP is undefined: " in out
    code, _, err = check(capsys, data, "--strict")
    assert code == 1 and "and --strict was given" in err


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "nothing to examine: name a folder"),
    (["{data}", "--val-ann-files", "x.json"], "name one or the other"),
    (["--train-ann-files", "x.json"], "--train-ann-files and --train-data-roots belong together"),
    (["{data}", "--fix", "{data}"], "train.json exists, and nothing is replaced"),
    (["{data}", "--template", "nope"], "no template 'nope'"),
], ids=["nothing", "folder and files", "no root", "would replace", "template"])
def test_contradicting_flags(data, capsys, arguments, message):
    code, out, err = check(capsys, *(argument.format(data=data) for argument in arguments))
    assert (code, out) == (1, "") and message in err


def test_one_file_alone_is_examined_too(data, capsys):
    (data / "val.json").unlink()
    (data / "train.json").rename(data / "photos.json")
    code, out, _ = check(capsys, data)
    assert code == 0 and "Data        all 8 images" in out and f"--data {data} (it sets a fifth of the images aside" in out


# The same picture in both splits


def test_images_of_val_in_train_are_paired_and_fixed(data, capsys, tmp_path):
    val = sorted((data / "val").iterdir())
    own = sorted(path.name for path in (data / "train").iterdir())
    for name in ("a_copy.png", "copied_again.png"):
        shutil.copy(val[0], data / "train" / name)
        add_to_train(data, name, own[0])
    with Image.open(val[1]) as picture:
        smaller = picture.resize((144, 120), Image.Resampling.BICUBIC)
        ImageEnhance.Brightness(smaller).enhance(0.9).save(data / "train" / "alike.jpg", quality=60)
    add_to_train(data, "alike.jpg", own[0])
    edited(data / "train.json", lambda document: document["images"][-1].update(width=144, height=120))
    before = digests(data)
    code, out, _ = check(capsys, data, "--fix", tmp_path / "fixed", "--save-json", tmp_path / "findings.json")
    assert code == 0 and digests(data) == before
    same, alike = (finding for finding in json.loads((tmp_path / "findings.json").read_text())["findings"]
                   if finding["where"] == "train and val")
    assert same["items"] == [[str(data / "train" / name), str(val[0])] for name in ("a_copy.png", "copied_again.png")]
    assert "1 image of val in train too, byte for byte" in same["text"]
    assert "Warning     train: 1 image with the same content as another (first: train/copied_again.png is" in out
    assert alike["items"] == [[str(data / "train" / "alike.jpg"), str(val[1])]] and "like one of train" in alike["text"]
    fixed = read_annotations([tmp_path / "fixed" / "train.json"], "/")
    assert {image["file_name"] for image in fixed.images} == {str(data / "train" / name) for name in [*own, "alike.jpg"]}
    assert len(read_annotations([tmp_path / "fixed" / "val.json"], "/").images) == 4
    assert f"{NEXT} --train-ann-files {tmp_path / 'fixed' / 'train.json'} --train-data-roots / " in out


def test_only_files_of_one_size_are_read_and_compared(tmp_path, monkeypatch):
    for name, content in {"a": b"12345", "b": b"12345", "c": b"54321", "d": b"1234"}.items():
        (tmp_path / name).write_bytes(content)
    read = []
    from instance_segmentation.coco import copies
    digest = copies._digest
    monkeypatch.setattr(copies, "_digest", lambda path: read.append(path.name) or digest(path))
    assert same_files([tmp_path / name for name in "dcba"]) == [[tmp_path / "b", tmp_path / "a"]]
    assert sorted(read) == ["a", "b", "c"]


def test_other_pictures_do_not_look_alike(data):
    train, val = sorted((data / "train").iterdir()), sorted((data / "val").iterdir())
    assert similar_pictures(train, val) == ([], [])
    Image.new("RGB", (64, 64), "grey").save(data / "grey.png")
    Image.new("RGB", (64, 64), "white").save(data / "white.png")
    assert similar_pictures([data / "grey.png"], [data / "white.png"]) == ([], [])


def test_pictures_are_compared_upright(data):
    path = sorted((data / "train").iterdir())[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as picture:
        picture.rotate(90, expand=True).save(data / "turned.jpg", exif=exif)  # stored on its side, shown as it was
    assert similar_pictures([path], [data / "turned.jpg"])[0] == [(path, data / "turned.jpg")]


# Repairing


def test_what_has_a_problem_is_left_out_and_the_rest_stays(data, capsys, tmp_path):
    images = sorted((data / "train").iterdir())
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:2000])
    truth = read_annotations([data / "val.json"], data / "val")

    def change(document):
        for item in document["annotations"]:
            item["id"] = 7  # a converter that numbered nothing
        document["annotations"][0]["bbox"] = [1, 2]
    edited(data / "val.json", change)
    code, out, _ = check(capsys, data, "--fix", tmp_path / "fixed")
    assert code == 0 and "annotation ids occur twice" in out and "1 image cannot be decoded" in out
    train = read_annotations([tmp_path / "fixed" / "train.json"], "/")
    assert {image["file_name"] for image in train.images} == set(map(str, images[2:]))
    val = read_annotations([tmp_path / "fixed" / "val.json"], "/")
    assert [item["segmentation"] for item in val.annotations] == [item["segmentation"] for item in truth.annotations[1:]]


def test_two_images_with_one_id_are_both_left_out(data):
    edited(data / "train.json", lambda document: document["images"][1].update(id=document["images"][0]["id"]))
    (findings,), kept = salvage_annotations([data / "train.json"], data / "train")
    assert any("image id occurs twice" in problem for problem in findings.problems)
    assert len(kept.images) == 6


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda path: path.write_text("{"), "is not valid JSON"),
    (lambda path: edited(path, lambda document: document["categories"][1].update(id=document["categories"][0]["id"])),
     "category id occurs twice"),
], ids=["cut off", "unclear classes"])
def test_what_cannot_be_repaired_is_an_error(data, capsys, tmp_path, spoil, reason):
    spoil(data / "train.json")
    flags = "--train-ann-files", data / "train.json", "--train-data-roots", data / "train"
    code, _, err = check(capsys, *flags, "--fix", tmp_path / "x")
    assert code == 1 and "nothing of train can be kept" in err and reason in err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("as_rle", [False, True], ids=["polygon", "RLE"])
def test_objects_are_turned_with_their_exif_rotated_image(tmp_path, orientation, as_rle):
    """The picture shows the object in white: what is white in the upright picture must be the object of the copy."""
    polygon = [4.0, 3.0, 30.0, 5.0, 21.0, 27.0, 9.0, 14.0]
    rle = coco_mask.merge(coco_mask.frPyObjects([polygon], 40, 60))
    mask, exif = coco_mask.decode(rle), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(mask * 255).save(tmp_path / "a.png", exif=exif)
    segmentation = dict(size=[40, 60], counts=rle["counts"].decode()) if as_rle else [polygon]
    (tmp_path / "a.json").write_text(json.dumps(dict(
        images=[dict(id=1, file_name="a.png", width=60, height=40)], categories=[dict(id=1, name="thing")],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[4, 3, 26, 24], segmentation=segmentation)])))
    (findings,), kept = salvage_annotations([tmp_path / "a.json"], tmp_path)
    assert "an EXIF rotation that the json does not know of" in findings.problems[0]
    with Image.open(tmp_path / "a.png") as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture)) > 0
    (item,), (image,) = kept.annotations, kept.images
    assert (image["width"], image["height"]) == (40, 60)
    turned = coco_mask.decode(to_rle(item["segmentation"], (60, 40))).astype(bool)
    assert (turned & upright).sum() / (turned | upright).sum() > (0.999 if as_rle else 0.95)  # a polygon's edges are rounded anew
    (top, left), (bottom, right) = np.argwhere(upright).min(0), np.argwhere(upright).max(0) + 1
    np.testing.assert_allclose(item["bbox"], [left, top, right - left, bottom - top], atol=1.01)  # the file's, not the pixels'


def test_rotations_that_leave_the_size_are_pointed_out(data, capsys):
    path = sorted((data / "train").iterdir())[0]
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(path) as picture:
        picture.copy().save(path, exif=exif)
    code, out, _ = check(capsys, data)
    assert code == 0 and "Note        train: 1 image with an EXIF rotation that leaves its size as it was" in out
    assert "→ training turns it, as viewers do: look whether" in out


# Objects too small


TEMPLATES = [SimpleNamespace(name="large", input_size=(600, 600)), SimpleNamespace(name="small", input_size=(300, 300))]


@pytest.mark.parametrize(("side", "template"), [(80, "small"), (40, "large"), (10, "large")], ids=["large", "medium", "tiny"])
def test_the_smallest_template_that_suffices_is_suggested(side, template):
    sides, images_hw = np.full(50, float(side)), np.tile((900, 1100), (50, 1))
    suggestion = suggest(sides, images_hw, TEMPLATES)
    assert suggestion.template == template
    assert (suggestion.tile_px is not None) == (side == 10)
    if suggestion.tile_px:
        assert np.mean(sides * 600 / suggestion.tile_px < SMALLEST_PX) <= TOLERATED
        assert suggestion.tile_px + 32 > 10 * 600 / SMALLEST_PX, "no tile is smaller than it must be"


def test_small_objects_are_a_warning_with_the_tile(data, capsys):
    def change(document):
        for item in document["annotations"]:
            x, y = item["bbox"][:2]
            item.update(bbox=[x, y, 3, 3], area=9, segmentation=[[x, y, x + 3, y, x + 3, y + 3, x, y + 3]], iscrowd=0)
    edited(data / "train.json", change)
    code, out, _ = check(capsys, data, "--template", TEMPLATE)
    assert code == 0 and "100% of the objects are below 17.5×17.5 px" in out
    assert "→ train, evaluate and run with --tile 64" in out and out.rstrip().endswith("--tile 64")
