"""Reading COCO: what must work, what must be refused and in which words, and that nothing is changed in silence."""

import copy
import json
import tracemalloc
from unittest.mock import Mock, patch

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as coco_mask

from instance_segmentation.coco import category_names, nesting, outlines, read_annotations
from instance_segmentation.coco.images import orientation, oriented_size
from instance_segmentation.coco.masks import MaskError, normalise, run_lengths, to_rle
from instance_segmentation.coco.nesting import has_nested_part
from instance_segmentation.coco.outlines import mask_to_polygons, rle_to_polygons
from instance_segmentation.errors import DatasetError

SQUARE = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]


def coco(**changes):
    """Return a small valid file: two 64x48 images, three objects of two classes; `changes` replace whole lists."""
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in (1, 2)],
        "categories": [{"id": 3, "name": "pear"}, {"id": 1, "name": "apple"}],
        "annotations": [annotation(11, 1, 1), annotation(12, 1, 3), annotation(13, 2, 1)],
    }
    return {**copy.deepcopy(document), **changes}


def annotation(number=11, image_id=1, category_id=1, **changes):
    entry = {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": 0, "area": 400.0,
             "bbox": [10.0, 10.0, 20.0, 20.0], "segmentation": copy.deepcopy(SQUARE)}
    entry.update(changes)
    return {key: value for key, value in entry.items() if value != "absent"}


def save(folder, document, name="train.json"):
    """Write a document, or a text as it stands, and return its path."""
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def save_images(folder, document):
    for image in document["images"]:
        target = folder / image["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (image["width"], image["height"])).save(target)


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a document with its images and reads it back."""

    def read_document(document, images=True, **options):
        path = save(tmp_path, document)
        if images and options.get("check_images", True):
            save_images(tmp_path, document)
        return read_annotations([path], [tmp_path], **options)

    return read_document


def problems(call, *args, **options):
    with pytest.raises(DatasetError) as caught:
        call(*args, **options)
    return str(caught.value)


def full_rle(height=48, width=64, start=100, length=50):
    return {"size": [height, width], "counts": [start, length, height * width - start - length]}


# What must work


def test_categories_follow_the_ids_of_the_file_and_ids_count_from_1(read):
    result = read(coco(annotations=[annotation(0), annotation(1, 2, 3)]))
    assert result.classes == ("apple", "pear")
    assert [(a["id"], a["category_id"], a["image_id"]) for a in result.annotations] == [(1, 1, 1), (2, 2, 2)]
    assert result.source_category_ids == {"apple": 1, "pear": 3}


def test_class_list_decides_order_and_selection(read):
    assert [a["category_id"] for a in read(coco(), classes=["pear", "apple"]).annotations] == [2, 1, 2]
    only = read(coco(), classes=("pear",))
    assert [a["category_id"] for a in only.annotations] == [1]
    assert only.notes == ("2 objects of other classes left out (first: apple)",)
    assert only.summary() == "2 images, 1 object (1 image without objects)"


def test_images_without_objects_go_only_on_request(read):
    result = read(coco(), classes=["pear"], keep_empty=False)
    assert [image["source_id"] for image in result.images] == [1]
    assert "1 image without an object of the classes left out (2.png)" in result.notes


def test_images_are_ordered_by_id_as_pycocotools_orders_them(read):
    document = coco()
    document["images"].reverse()
    result = read(document)
    assert [image["source_id"] for image in result.images] == [1, 2]
    assert [a["image_id"] for a in result.annotations] == [1, 1, 2]


@pytest.mark.parametrize("name", ["red apple", "りんご", "Größe Ä", "emoji 🍎", "comma, quote \""])
def test_class_names_survive_reading_and_writing(read, tmp_path, name):
    document = coco(categories=[{"id": 1, "name": name}], annotations=[annotation()])
    written = read(document, classes=[name]).write(tmp_path / "out" / "normal.json")
    assert category_names(written) == (name,)


def test_several_files_and_roots_merge_by_class_name(tmp_path):
    first, second = coco(), coco(categories=[{"id": 7, "name": "apple"}], annotations=[annotation(11, 2, 7)])
    files = []
    for name, document in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        save_images(tmp_path / name, document)
        files.append(save(tmp_path / name, document))
    result = read_annotations(files, [tmp_path / "a", tmp_path / "b"])
    assert [(a["id"], a["image_id"], a["category_id"]) for a in result.annotations] == [
        (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 4, 1)]
    assert result.images[3]["file_name"] == str(tmp_path / "b" / "2.png")
    assert result.source_category_ids is None
    assert any(note.startswith(f"{files[1]}: 1 class not in its") for note in result.notes)
    globbed = read_annotations([tmp_path / "*" / "train.json"], [str(tmp_path / "?")])
    assert globbed.annotations == result.annotations and globbed.images == result.images


def test_file_names_may_be_nested_or_absolute(tmp_path):
    document = coco()
    document["images"][0]["file_name"] = "sub dir/ä.png"
    save_images(tmp_path / "images", document)
    document["images"][1]["file_name"] = str(tmp_path / "images" / "2.png")
    result = read_annotations([save(tmp_path, document)], [tmp_path / "images"])
    assert [image["file_name"] for image in result.images] == [
        str(tmp_path / "images" / name) for name in ("sub dir/ä.png", "2.png")]


def test_byte_order_mark_is_no_malformed_json(tmp_path, read):
    save_images(tmp_path, coco())
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(coco()).encode())
    assert len(read_annotations([tmp_path / "bom.json"], [tmp_path]).annotations) == 3


SEGMENTATIONS = {
    "float polygon": SQUARE,
    "integer polygon": [[10, 10, 30, 10, 30, 30, 10, 30]],
    "several parts": [SQUARE[0], [40.0, 5.0, 50.0, 5.0, 50.0, 20.0]],
    "uncompressed RLE": full_rle(),
    "compressed RLE": {"size": [48, 64], "counts": coco_mask.frPyObjects(full_rle(), 48, 64)["counts"].decode()},
}


@pytest.mark.parametrize("segmentation", SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_normal_form_covers_the_same_pixels(segmentation):
    before = copy.deepcopy(segmentation)
    result, notes = normalise(segmentation, (48, 64))
    raw = segmentation
    if isinstance(raw, list) or isinstance(raw["counts"], list):
        raw = coco_mask.frPyObjects(raw, 48, 64)
    expected = coco_mask.decode(coco_mask.merge(raw) if isinstance(raw, list) else raw)
    assert np.array_equal(coco_mask.decode(to_rle(result, (48, 64))), expected)
    assert segmentation == before and notes == ()
    if isinstance(result, list):
        assert {type(value) for part in result for value in part} == {float}
    else:
        assert isinstance(result["counts"], str)


MENDED = {
    "box missing": ({"bbox": "absent"}, {"bbox": [10.0, 10.0, 20.0, 20.0]}, "1 missing box computed from the mask"),
    "box missing, RLE": ({"bbox": None, "segmentation": full_rle(start=96, length=48)},
                         {"bbox": [2.0, 0.0, 1.0, 48.0]}, "1 missing box"),
    "box far outside": ({"bbox": [-2.5, 40, 20, 10], "segmentation": [[-2.5, 40, 17.5, 40, 17.5, 50, -2.5, 50]]},
                        {"bbox": [0.0, 40.0, 17.5, 8.0]}, "1 box reaching more than"),
    "box outside by rounding": ({"bbox": [-1, 40, 20, 9], "segmentation": [[-1, 40, 19, 40, 19, 49, -1, 49]]},
                                {"bbox": [-1.0, 40.0, 20.0, 9.0]}, None),
    "area missing": ({"area": "absent"}, {"area": 400.0}, "1 missing or zero area computed from the mask"),
    "area zero": ({"area": 0}, {"area": 400.0}, "1 missing or zero area"),
    "area of the file kept": ({"area": 17}, {"area": 17.0}, None),
    "short part": ({"segmentation": [*SQUARE, [1, 1, 2, 2]]}, {"segmentation": SQUARE}, "fewer than 3 points:"),
    "flat list": ({"segmentation": SQUARE[0]}, {"segmentation": SQUARE}, "a flat list of coordinates"),
    "part inside a part": ({"segmentation": [*SQUARE, [15, 15, 20, 15, 20, 20]]}, {}, "write the mask as RLE"),
    "crowd without a mask": ({"iscrowd": 1, "segmentation": []}, {"segmentation": SQUARE}, "the box is used"),
    "iscrowd missing": ({"iscrowd": "absent"}, {"iscrowd": 0}, None),
}


@pytest.mark.parametrize(("changes", "expected", "note"), MENDED.values(), ids=MENDED)
def test_mended_by_a_stated_rule(read, changes, expected, note):
    result = read(coco(annotations=[annotation(**changes)]), check_images=False)
    assert len(result.annotations) == 1
    assert {key: result.annotations[0][key] for key in expected} == expected
    assert (note in result.notes[0] and "annotation 11 in 1.png" in result.notes[0]) if note else result.notes == ()


DROPPED = {
    "no segmentation": ({"segmentation": "absent"}, "without a usable mask"),
    "empty segmentation": ({"segmentation": []}, "without a usable mask"),
    "two points": ({"segmentation": [[1, 1, 5, 5]]}, "without a usable mask"),
    "empty RLE": ({"segmentation": {"size": [48, 64], "counts": [48 * 64]}}, "without a usable mask"),
    "zero width": ({"bbox": [10, 10, 0, 5]}, "zero width or height"),
    "wholly outside": ({"bbox": [64, 10, 5, 5]}, "wholly outside"),
}


@pytest.mark.parametrize(("changes", "note"), DROPPED.values(), ids=DROPPED)
def test_dropped_and_counted(read, changes, note):
    entries = [annotation(**changes), annotation(12, **changes), annotation(13)]
    result = read(coco(annotations=entries), check_images=False)
    assert len(result.annotations) == 1
    assert len(result.notes) == 1 and result.notes[0].startswith("2 objects") and note in result.notes[0]
    assert "first: annotation 11 in 1.png" in result.notes[0]


# What must be refused, and how


def test_all_problems_are_listed_at_once(tmp_path):
    document = coco()
    document["images"] += [{"id": 3, "file_name": "IMG_3.JPG", "width": 64, "height": 48}]
    save_images(tmp_path / "photos", document)
    (tmp_path / "photos" / "IMG_3.JPG").rename(tmp_path / "photos" / "IMG_3.jpg")
    document["annotations"] += [annotation(21, category_id=17), annotation(22, category_id=17), annotation(12)]
    path = save(tmp_path, document)
    text = problems(read_annotations, [path], [tmp_path / "photos"], classes=["appel"])
    assert text.splitlines() == [
        f"{path}: 4 problems, nothing was started.",
        '  2 annotations use a category_id that is not in "categories" (first: annotation 21, category_id 17)',
        "  1 annotation id occurs twice; give each annotation its own (annotation 12)",
        f"  1 image is listed but not in {tmp_path / 'photos'}/ (IMG_3.JPG; did you mean IMG_3.jpg?)",
        '  class "appel" is not in this file; did you mean apple? It has: apple, pear',
    ]


@pytest.mark.parametrize("spoil, hinted", [
    (lambda document: document["annotations"].append(annotation(21, category_id=17)), True),
    (lambda document: document["categories"].append({"id": 9, "name": "pear"}), False),
    (lambda document: document.update(images=[]), False),
], ids=["an object", "categories", "no images"])
def test_a_repaired_copy_is_offered_only_where_it_can_be_made(tmp_path, spoil, hinted):
    document = coco()
    save_images(tmp_path, document)
    spoil(document)
    assert ("--fix" in problems(read_annotations, [save(tmp_path, document)], [tmp_path])) is hinted


def test_no_copy_of_a_missing_file_is_offered(tmp_path):
    assert "--fix" not in problems(read_annotations, [tmp_path / "none.json"], [tmp_path])


def test_problems_of_all_files_are_listed_at_once(tmp_path):
    empty, cut = save(tmp_path, "", "empty.json"), save(tmp_path, '{"images": [\n  1, 2', "cut.json")
    text = problems(read_annotations, [empty, cut], [tmp_path])
    assert f"{empty}: 1 problem, nothing was started.\n  is empty; expected COCO instances JSON" in text
    assert f"{cut}: 1 problem" in text and "is not valid JSON: line 2, column" in text and "cut off" in text


BAD_FILES = {
    "a list": ("[1]", "not a COCO instances file", "got a list"),
    "labelme": ('{"version": 1, "shapes": []}', "missing: images, annotations, categories", "looks like labelme"),
    "VIA": ('{"a.jpg1": {"regions": []}}', "its keys: a.jpg1", "VIA project: export it as COCO"),
    "no annotations": (json.dumps({"images": [], "categories": []}), "missing: annotations", "its keys: images"),
    "only blanks": (" \n", "is empty", "copy it again"),
}


@pytest.mark.parametrize(("text", "first", "second"), BAD_FILES.values(), ids=BAD_FILES)
def test_no_coco_file(tmp_path, text, first, second):
    message = problems(read_annotations, [save(tmp_path, text)], [tmp_path])
    assert first in message and second in message
    assert first in problems(category_names, tmp_path / "train.json")


def test_missing_file_and_pattern_name_what_is_near(tmp_path):
    save(tmp_path, coco())
    text = problems(read_annotations, [tmp_path / "Train.jsn"], [tmp_path])
    assert "does not exist; did you mean train.json?" in text
    assert "No annotation file matches" in problems(read_annotations, [tmp_path / "*.jsonl"], [tmp_path])
    assert "is a folder; expected a JSON file, for example" in problems(read_annotations, [tmp_path], [tmp_path])
    text = problems(read_annotations, [tmp_path / "a.json"] * 3, [tmp_path] * 2)
    assert "Got 3 annotation files and 2 image roots; expected one root for all files or one per file" in text


BAD_ENTRIES = {
    "annotation of a missing image": ({"image_id": 9}, 'image id that is not in "images" (annotation 11, image_id 9)'),
    "annotation without image_id": ({"image_id": "absent"}, "1 annotation without image_id"),
    "bbox of three numbers": ({"bbox": [1, 2, 3]}, "1 bbox that is not four finite numbers"),
    "bbox with NaN": ({"bbox": [1, 2, float("nan"), 3]}, "1 bbox that is not four finite numbers"),
    "polygon with NaN": ({"segmentation": [[1, 2, float("nan"), 3, 4, 5]]}, "million px (annotation 11 in 1.png)"),
    "polygon with infinity": ({"segmentation": [[1, 2, float("inf"), 3, 4, 5]]}, "not a finite number"),
    "polygon of corners far apart": ({"segmentation": [[-999999, 0, 999999.5, 9] * 2500]}, "outline far too long for its image"),
    "zigzag": ({"segmentation": [[0, 0, 60, 40] * 2000]}, "outline far too long for its image"),
    "polygon far away": ({"segmentation": [[1, 2, 1e9, 3, 4, 5]]}, "finite number below a million px"),
    "polygon with an endless integer": ({"segmentation": [[1, 2, 10**400, 3, 4, 5]]}, "below a million px"),
    "bbox with an endless integer": ({"bbox": [1, 2, 10**400, 3]}, "1 bbox that is not four finite numbers"),
    "RLE with an endless integer": ({"segmentation": {"size": [48, 64], "counts": [10**30]}}, "do not add up"),
    "polygon with text": ({"segmentation": [[1, 2, "3", 3, 4, 5]]}, "not a finite number"),
    "odd polygon": ({"segmentation": [[1, 2, 3, 3, 4, 5, 6]]}, "1 polygon has an odd number of coordinates"),
    "area of text": ({"area": "big"}, "1 area that is not a finite number"),
    "iscrowd of text": ({"iscrowd": "yes"}, '"iscrowd" other than 0 or 1'),
    "RLE of another size": ({"segmentation": full_rle(64, 48)}, "another size than its image (expected [height"),
    "RLE with a missing run": ({"segmentation": {"size": [48, 64], "counts": [5, 5]}}, "do not add up to the image's"),
    "RLE of broken text": ({"segmentation": {"size": [48, 64], "counts": "~~~~"}}, "do not add up to the image's"),
    "unhashable id": ({"id": [1]}, "an id that is not a number or text"),
}


@pytest.mark.parametrize(("changes", "expected"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_bad_annotation(read, changes, expected):
    text = problems(read, coco(annotations=[annotation(**changes)]), check_images=False)
    assert "train.json: 1 problem, nothing was started." in text and expected in text


BAD_IMAGES = {
    "duplicate id": ([{"id": 1}, {"id": 1}], "1 image id occurs twice; give each image its own (image 1)"),
    "missing keys": ([{"width": None, "height": None}], "1 image without width, height"),
    "size of text": ([{"width": "64"}], '"width" or "height" is not a number of pixels (1.png)'),
    "no image": ([], '"images" is empty'),
}


@pytest.mark.parametrize(("changes", "expected"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_image_entry(read, changes, expected):
    images = [{"id": 1, "file_name": "1.png", "width": 64, "height": 48, **change} for change in changes]
    assert expected in problems(read, coco(images=images, annotations=[]), check_images=False)


BAD_CATEGORIES = {
    "duplicate id": ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "1 category id occurs twice"),
    "duplicate name": ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "1 category name occurs twice"),
    "no name": ([{"id": 1}], '1 category lacks an integer "id" or a "name"'),
    "none": ([], '"categories" is empty'),
}


@pytest.mark.parametrize(("categories", "expected"), BAD_CATEGORIES.values(), ids=BAD_CATEGORIES)
def test_bad_category(read, categories, expected):
    assert expected in problems(read, coco(categories=categories, annotations=[]), check_images=False)


def test_class_list_is_checked(read):
    assert "The class list names apple more than once" in problems(read, coco(), classes=["apple", "apple"])
    assert "The class list is empty" in problems(read, coco(), classes=[])


def test_no_image_left_says_why(read):
    document = coco(annotations=[annotation(bbox=[1, 1, 0, 0]), annotation(12, category_id=3)])
    text = problems(read, document, classes=["apple"], keep_empty=False, check_images=False)
    assert "no image is left, nothing was started." in text
    assert "2 images read, 0 kept; 2 objects read, 0 kept. Classes asked for: apple" in text
    assert "1 object with a box of zero width or height dropped" in text
    assert "1 object of other classes left out (pear)" in text
    assert "2 images without an object of the classes left out (first: 1.png)" in text


# Image files


def test_truncated_image_is_found(read, tmp_path):
    document = coco()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for image in document["images"]:
        image["file_name"] = image["file_name"].replace("png", "jpg")
        Image.fromarray(noise).save(tmp_path / image["file_name"])
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.jpg").write_bytes(b"no image at all")
    text = problems(read, document, images=False)
    assert "2 images cannot be decoded; export or copy again (first: 1.jpg: image file is truncated" in text


def test_size_must_be_the_one_after_the_exif_rotation(tmp_path):
    """mmdet loads with OpenCV, which turns the pixels by the EXIF tag."""
    import cv2

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "1.jpg", exif=exif)
    assert cv2.imread(str(tmp_path / "1.jpg")).shape == (64, 48, 3)
    entry = {"id": 1, "file_name": "1.jpg", "width": 48, "height": 64}
    path = save(tmp_path, coco(images=[entry], annotations=[annotation()]))
    assert len(read_annotations([path], [tmp_path]).images) == 1
    path = save(tmp_path, coco(images=[{**entry, "width": 64, "height": 48}], annotations=[annotation()]))
    text = problems(read_annotations, [path], [tmp_path])
    assert "1 image with an EXIF rotation that the json does not know of" in text
    assert "(1.jpg is 48x64, the json says 64x48, its size before the rotation)" in text
    path = save(tmp_path, coco(images=[{**entry, "width": 100}], annotations=[annotation()]))
    text = problems(read_annotations, [path], [tmp_path])
    assert "1 image has another size than the json says (1.jpg is 48x64, the json says 100x64)" in text


def test_the_right_root_is_suggested(tmp_path):
    document = coco()
    for image in document["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    save_images(tmp_path, document)
    path = save(tmp_path, document)
    text = problems(read_annotations, [path], [tmp_path / "images"])
    expected = f"2 images are listed but not in {tmp_path / 'images'}/ (first: images/1.png; it is in {tmp_path}: give"
    assert expected in text
    assert "is not a folder" in problems(read_annotations, [path], [tmp_path / "pictures"])
    path = save(tmp_path, coco())
    assert f"it is in {tmp_path / 'images'}: give that" in problems(read_annotations, [path], [tmp_path])


def test_progress_reaches_the_total(read):
    seen = []
    read(coco(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


# Writing


def test_write_is_the_normal_form_again_and_atomic(read, tmp_path, monkeypatch):
    result = read(coco())
    path = result.write(tmp_path / "normal.json")
    again = read_annotations([path], ["/"], check_images=False)
    assert again.annotations == result.annotations and again.classes == result.classes
    assert category_names(path) == result.classes
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("instance_segmentation.coco.record._write_list", full_disk)
    assert "could not be written: No space left on device" in problems(result.write, path)
    assert path.read_bytes() == before
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".normal")]


def test_written_polygons_keep_holes_and_crowds_stay_rle(read, tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[5:40, 5:50] = 1
    mask[15:25, 15:30] = 0
    rle = coco_mask.encode(np.asfortranarray(mask))
    rle["counts"] = rle["counts"].decode()
    entries = [annotation(11, segmentation=rle), annotation(12, segmentation=rle, iscrowd=1)]
    result = read(coco(annotations=entries), check_images=False)
    written = json.loads(result.write(tmp_path / "normal.json", masks="polygon").read_text())["annotations"]
    assert written[1]["segmentation"] == rle
    assert np.array_equal(coco_mask.decode(to_rle(written[0]["segmentation"], (48, 64))), mask)
    assert result.annotations[0]["segmentation"] == rle
    with pytest.raises(ValueError, match="got 'bits'"):
        result.write(tmp_path / "x.json", masks="bits")


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8], ids=["specks", "labyrinth", "many holes"])
def test_polygons_rasterise_to_the_mask_they_came_from(density):
    rng = np.random.default_rng(3)
    for _ in range(20):
        mask = (rng.random((24, 31)) < density).astype(np.uint8)
        assert np.array_equal(coco_mask.decode(to_rle(mask_to_polygons(mask), mask.shape)), mask)


def test_compressed_counts_are_decoded_as_pycocotools_does():
    rng = np.random.default_rng(5)
    for density in (0.001, 0.3, 0.999):
        mask = (rng.random((300, 211)) < density).astype(np.uint8)
        runs = run_lengths(coco_mask.encode(np.asfortranarray(mask))["counts"].decode())
        assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel(order="F"))


def test_hostile_counts_do_not_reach_pycocotools():
    for counts in ("", "P", "zzz", "0", "oooooooooo0", "é1"):
        with pytest.raises(MaskError):
            normalise({"size": [48, 64], "counts": counts}, (48, 64))


def test_classes_absent_from_a_validation_file_are_noted(tmp_path):
    (tmp_path / "val.json").write_text(json.dumps(
        {"images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 20}], "annotations": [],
         "categories": [{"id": 3, "name": "pear"}]}))
    options = {"check_images": False, "all_classes": False}
    annotations = read_annotations([tmp_path / "val.json"], [tmp_path], classes=["apple", "pear"], **options)
    assert annotations.classes == ("apple", "pear")
    assert any("apple" in note for note in annotations.notes)
    with pytest.raises(DatasetError, match='class "fig" is not in this file'):
        read_annotations([tmp_path / "val.json"], [tmp_path], classes=["apple", "fig"], **options)


def ring(points, radius):
    angle = np.arange(points) * 2 * np.pi / points
    return np.stack([300 + radius * np.cos(angle), 300 + radius * np.sin(angle)], 1).ravel().tolist()


@pytest.mark.parametrize("parts, nested", [
    ([ring(20_000, 200), ring(20_000, 100)], True),
    ([ring(9, 100), ring(20_000, 200)], True),
    ([ring(20_000, 200), [500, 500, 520, 500, 520, 520]], False),
    ([ring(3, 200), [600 - value for value in ring(3, 120)]], False),  # whose corners look out
    ([[10, 10, 90, 10, 90, 20, 20, 20, 20, 90, 10, 90], [40, 40, 50, 40, 50, 50]], False),  # in the box of an L, not in the L
], ids=["two fine rings", "a coarse ring", "beside it", "across it", "in its box only"])
def test_a_part_inside_another_is_seen_and_costs_no_more_than_its_points(parts, nested):
    tracemalloc.start()
    assert has_nested_part(parts) is nested
    assert tracemalloc.get_traced_memory()[1] < 100e6  # 6.5 GB with every point of one beside every edge of the other
    tracemalloc.stop()


def test_many_nested_boxes_end_the_search_instead_of_the_day():
    parts = [ring(40, 10 + number / 10)[:60] for number in range(3000)]
    tried = Mock(wraps=nesting._inside)
    with patch.object(nesting, "_inside", tried):
        has_nested_part(parts)
    assert sum(len(ring) for _, ring in (call.args for call in tried.call_args_list)) < nesting.EDGES


def test_the_mask_of_many_parts_is_that_of_all_of_them():
    squares = [[x, y, x + 4.0, y, x + 4.0, y + 4.0, x, y + 4.0] for x in range(0, 200, 8) for y in range(0, 200, 8)]
    mask = np.zeros((200, 200), np.uint8)
    for x, y in (square[:2] for square in squares):
        mask[y:y + 4, x:x + 4] = 1
    assert np.array_equal(coco_mask.decode(to_rle(squares, mask.shape)), mask)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_polygons_of_a_mask_with_a_thousand_holes_rasterise_to_it(share):
    mask = (np.random.default_rng(0).random((180, 200)) < share).astype(np.uint8)
    rle = coco_mask.encode(np.asfortranarray(mask))
    polygons = rle_to_polygons({"size": rle["size"], "counts": rle["counts"].decode()})
    assert np.array_equal(coco_mask.decode(to_rle(polygons, mask.shape)), mask)


def test_an_outline_is_copied_once_however_many_holes_it_has():
    mask = np.ones((401, 401), np.uint8)
    mask[1::2, 1::2] = 0  # 40,000 holes
    with patch.object(outlines.np, "concatenate", Mock(wraps=np.concatenate)) as joined:
        polygon, = mask_to_polygons(mask)
    assert joined.call_count < 10 and len(polygon) > 2 * 5 * 40_000


def test_an_image_larger_than_opencv_reads_is_refused(tmp_path):
    document = coco()
    document["images"][0].update(width=1 << 16, height=1 << 16)
    assert "1 image larger than OpenCV reads" in problems(read_annotations, [save(tmp_path, document)], [tmp_path],
                                                          check_images=False)


def tagged(path, kind, turn):
    """Write a picture of 96×64 px with an orientation tag where `kind` says; each corner is of another grey."""
    pixels = np.kron(np.array([[10, 80], [160, 250]], np.uint8), np.ones((32, 48), np.uint8))
    exif, options = Image.Exif(), {}
    exif[0x0112] = turn
    xmp = (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
           f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{turn}"/></rdf:RDF>'
           '</x:xmpmeta>').encode()
    if "exif" in kind:
        options["exif"] = exif
    if "xmp" in kind and path.suffix == ".png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif "xmp" in kind:
        options["xmp"] = xmp
    Image.fromarray(pixels).convert("RGB").save(path, **options)


@pytest.mark.parametrize("kind", ["exif", "xmp", "exif and xmp"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_lies_as_opencv_decodes_it_wherever_its_tag_stands(tmp_path, suffix, turn, kind):
    """Judged by Pillow, which reads XMP too, right annotations were refused, and --fix turned their objects."""
    path = tmp_path / f"a.{suffix}"
    tagged(path, kind, turn)
    seen = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    with Image.open(path) as picture:
        assert oriented_size(picture) == seen.shape[::-1]
        assert (orientation(picture) != 1) == (seen.shape != stored.shape or bool((seen != stored).any()))
    document = dict(images=[dict(id=1, file_name=path.name, width=seen.shape[1], height=seen.shape[0])], annotations=[],
                    categories=[dict(id=1, name="a")])
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert len(read_annotations([tmp_path / "a.json"], [tmp_path]).images) == 1
