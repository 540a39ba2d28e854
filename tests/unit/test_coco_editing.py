"""`instseg coco split|combine|stats|crop`: what the parts hold, and that nothing is lost or guessed."""

import copy
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from instance_segmentation.cli import main
from instance_segmentation.coco import combine, split
from instance_segmentation.coco.editing import part_sizes
from instance_segmentation.errors import DatasetError

SQUARE = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]


def document(classes_of_images, name="{}.png", first_id=1):
    """A COCO document with an image per list of category ids: 0 is pear, 1 is apple, 2 is plum."""
    images = [dict(id=number, file_name=name.format(number), width=64, height=48, camera="A")
              for number, _ in enumerate(classes_of_images, first_id)]
    pairs = [(image["id"], number) for image, numbers in zip(images, classes_of_images, strict=True) for number in numbers]
    annotations = [dict(id=index, image_id=image, category_id=number, iscrowd=0, area=400.0, bbox=[10.0, 10.0, 20.0, 20.0],
                        segmentation=copy.deepcopy(SQUARE)) for index, (image, number) in enumerate(pairs, first_id)]
    return dict(info=dict(year=2026), images=images, annotations=annotations,
                categories=[dict(id=number, name=kind) for number, kind in enumerate(("pear", "apple", "plum"))])


def save(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def classes_in(part):
    return Counter(annotation["category_id"] for annotation in part["annotations"])


def test_split_keeps_every_image_once_with_its_objects_and_every_key():
    whole = document([[0], [1], [0, 1], [], [2], [0], [0], [1], [0], [2]])
    parts = split(whole, (6, 2, 2), seed=3)
    assert [len(part["images"]) for part in parts] == [6, 2, 2]
    assert sorted(image["id"] for part in parts for image in part["images"]) == [image["id"] for image in whole["images"]]
    for part in parts:
        ids = {image["id"] for image in part["images"]}
        assert part["annotations"] == [item for item in whole["annotations"] if item["image_id"] in ids]
        assert part["info"] == whole["info"] and part["images"][0]["camera"] == "A"
    assert split(whole, (6, 2, 2), seed=3) == parts != split(whole, (6, 2, 2), seed=4)


def test_split_without_shuffling_follows_the_file():
    parts = split(document([[0]] * 5), (3, 2), shuffle=False)
    assert [[image["id"] for image in part["images"]] for part in parts] == [[1, 2, 3], [4, 5]]


def test_stratified_split_gives_every_part_its_share_of_rare_classes():
    whole = document([[2] if index % 25 == 0 else [0, 1] if index % 5 == 0 else [0] for index in range(100)])
    parts = split(whole, (2, 1, 1), stratify=True)
    assert [len(part["images"]) for part in parts] == [50, 25, 25]
    assert [(classes_in(part)[1], classes_in(part)[2]) for part in parts] == [(8, 2), (4, 1), (4, 1)]


@pytest.mark.parametrize(("total", "ratios", "sizes"), [
    pytest.param(10, (8, 1, 1), [8, 1, 1], id="even"), pytest.param(7, (1, 1, 1), [2, 3, 2], id="rounded"),
    pytest.param(3, (98, 1, 1), [1, 1, 1], id="no part is empty"),
])
def test_part_sizes(total, ratios, sizes):
    assert part_sizes(total, ratios) == sizes


def test_combine_joins_classes_by_name_and_numbers_anew():
    first, second = document([[0], [1]]), document([[0, 2]], name="b{}.png", first_id=0)
    second["categories"] = [dict(id=0, name="apple"), dict(id=2, name="fig")]
    whole = combine([first, second])
    assert [category["name"] for category in whole["categories"]] == ["pear", "apple", "plum", "fig"]
    assert [category["id"] for category in whole["categories"]] == [1, 2, 3, 4]
    assert [(item["id"], item["image_id"], item["category_id"]) for item in whole["annotations"]] == [
        (1, 1, 1), (2, 2, 2), (3, 3, 2), (4, 3, 4)]


def test_combine_refuses_an_image_that_is_in_two_files():
    with pytest.raises(DatasetError, match=r"2 images are in more than one of the files \(first: 1.png\)"):
        combine([document([[0], [1]]), document([[2], []])])


def test_split_verb_writes_files_and_counts(tmp_path, capsys):
    source = save(tmp_path / "all.json", document([[0], [1], [0], [2]]))
    names = [str(tmp_path / name) for name in ("train.json", "val.json")]
    assert main.main(["coco", "split", "--input", source, "--output", ",".join(names), "--ratios", "3:1"]) == 0
    assert [len(json.loads(Path(name).read_text())["images"]) for name in names] == [3, 1]
    assert capsys.readouterr().out.splitlines()[0].split() == ["file", "images", "pear", "apple", "plum"]


def test_cvtks_spelling_and_numbered_parts(tmp_path):
    source = save(tmp_path / "all.json", document([[0], [1], [0], [2]]))
    arguments = ["--output", str(tmp_path / "part.json"), "--ratios", "2:1:1", "--shuffle", "--random_seed", "1"]
    assert main.main(["coco-split", "--input", source, *arguments]) == 0
    assert sorted(path.name for path in tmp_path.glob("part*")) == ["part.json.0", "part.json.1", "part.json.2"]


@pytest.mark.parametrize(("arguments", "message"), [
    pytest.param(["split", "--output", "a,b,c", "--ratios", "1:1"], "3 files for 2 --ratios", id="numbers differ"),
    pytest.param(["split", "--output", "a", "--ratios", "1:1:1:1:1"], "4 images cannot be divided into 5", id="too few images"),
    pytest.param(["crop", "--output", "crops"], "its images are neither in", id="no images"),
])
def test_mistakes_are_named(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    source = save(tmp_path / "all.json", document([[0], [1], [0], [2]]))
    assert main.main(["coco", arguments[0], "--input", source, *arguments[1:]]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["all.json"]


def test_stats_count_objects_images_and_sizes(tmp_path, capsys):
    content = document([[0, 0], [1], []])
    content["annotations"][2].update(area=100 ** 2)
    assert main.main(["coco", "stats", "--input", save(tmp_path / "all.json", content), "--output",
                      str(tmp_path / "stats.json")]) == 0
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["images"], stats["empty_images"], stats["crowds"]) == (3, 1, 0)
    assert stats["classes"]["pear"] == dict(objects=2, images=1, small=2, medium=0, large=0, median_side=20.0)
    assert stats["classes"]["apple"]["large"] == 1 and stats["classes"]["plum"]["objects"] == 0
    assert "3 images, 3 objects" in capsys.readouterr().out


def test_crops_are_the_boxes_pixels(tmp_path):
    (tmp_path / "images").mkdir()
    picture = Image.new("RGB", (64, 48))
    picture.paste((255, 0, 0), (10, 10, 30, 30))
    picture.save(tmp_path / "images" / "1.png")
    assert main.main(["coco", "crop", "--input", save(tmp_path / "all.json", document([[0]])), "--output",
                      str(tmp_path / "crops")]) == 0
    (crop,) = (tmp_path / "crops").iterdir()
    assert crop.name == "1__pear__10-10-30-30.png"
    assert Image.open(crop).getcolors() == [(400, (255, 0, 0))]
