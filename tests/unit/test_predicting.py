"""`instseg predict`: files written, runs resumed, shares merged; with a model of constants, no torch."""

import csv
import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from instance_segmentation.cli.predict import main
from tests.unit import tiny_models

LEVELS = (255, 200, 100, 220, 90, 160, 240)  # the model's score follows the brightness: 0.9 for white, the threshold is 0.5
FOUND = [1, 1, 0, 1, 0, 1, 1]
NAMES = [f"photo {index} ü.png" for index in range(len(LEVELS))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Finds one object of class `red/dog` in the middle."""
    info = dict(label_info='{"label_names": ["cat", "red/dog"]}')
    return str(tiny_models.mask_rcnn(tmp_path_factory.mktemp("model") / "m.xml", rt_info=info))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, level in zip(NAMES, LEVELS, strict=True):
        cv2.imwrite(str(folder / name), np.full((96, 144, 3), level, np.uint8))
    return folder


def predict(model, source, output, *flags):
    return main(["-m", model, "-i", str(source), "-o", str(output), *map(str, flags)])


def results(output):
    return [(output / name).read_bytes() for name in ("predictions.json", "counts.csv")]


def test_folder(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "found") == 0
    truth = COCO(tmp_path / "found/predictions.json")
    assert [image["file_name"] for image in truth.dataset["images"]] == NAMES
    assert truth.dataset["categories"] == [dict(id=1, name="cat"), dict(id=2, name="red/dog")]
    assert [len(truth.getAnnIds([image])) for image in range(1, 8)] == FOUND
    first = truth.loadAnns(1)[0]
    assert first["score"] == pytest.approx(0.9) and first["bbox"] == [36, 24, 72, 48] and first["category_id"] == 2
    assert truth.annToMask(first).sum() == first["area"] == pytest.approx(72 * 48, abs=4)  # the paste rounds corners
    rows = list(csv.reader((tmp_path / "found/counts.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["image", "cat", "red/dog", "all"]
    assert rows[1:] == [[name, "0", str(number), str(number)] for name, number in zip(NAMES, FOUND, strict=True)]
    assert "7 of 7 in" in capsys.readouterr().out


def test_pictures_and_crops(model, photos, tmp_path):
    assert predict(model, photos, tmp_path / "found", "--draw", "--crops", "mask", "--masks", "polygon") == 0
    assert sorted(path.name for path in (tmp_path / "found/pictures").iterdir()) == NAMES
    crops = {path.parent.name: cv2.imread(str(path)) for path in (tmp_path / "found/crops").rglob("001_red_dog.png")}
    assert sorted(crops) == [name for name, number in zip(NAMES, FOUND, strict=True) if number]
    assert crops[NAMES[1]].shape == (48, 72, 3) and (crops[NAMES[1]] == 200).mean() > 0.99
    item = json.loads((tmp_path / "found/predictions.json").read_text())["annotations"][0]
    assert np.reshape(item["segmentation"], (-1, 2)).min(0).tolist() == [36, 24]


@pytest.mark.parametrize("cut", [2, 400], ids=["in the last line", "in an earlier one"])
def test_killed_run_goes_on(model, photos, tmp_path, capsys, cut):
    """Lines that were not written whole are done again, others are not; in the end nothing tells the difference."""
    assert predict(model, photos, tmp_path / "whole") == 0
    part = tmp_path / "cut/part-1-of-1.jsonl"
    part.parent.mkdir()
    lines = (tmp_path / "whole/part-1-of-1.jsonl").read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:5])[:-cut])
    whole = len(part.read_bytes().splitlines()) - 2  # without the head and the torn line
    capsys.readouterr()
    assert predict(model, photos, tmp_path / "cut") == 0
    assert f"7 of 7 in {photos}; {whole} of them are done" in capsys.readouterr().out
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_shares_of_several_machines_merge_into_the_same_files(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "whole") == 0
    for number in (3, 1):
        assert predict(model, photos, tmp_path / f"share{number}", "--shard", f"{number}/3") == 0
    shares = [str(tmp_path / f"share{number}") for number in (1, 2, 3)]
    assert main(["--merge", *shares[::2], "-o", str(tmp_path / "merged")]) == 1
    assert "2 of 7 images are missing" in capsys.readouterr().err
    assert predict(model, photos, shares[1], "--shard", "2/3") == 0
    assert main(["--merge", *shares, "-o", str(tmp_path / "merged")]) == 0
    assert results(tmp_path / "merged") == results(tmp_path / "whole")


def test_shares_of_different_runs(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "a", "--shard", "1/2") == predict(model, photos, tmp_path / "b", "--shard", "2/2",
                                                                              "-t", "0.8") == 0
    assert main(["--merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path)]) == 1
    assert "is of another run than" in capsys.readouterr().err


def test_coco_file_keeps_its_ids(model, photos, tmp_path):
    """Images by id, below the file's folder; category ids by name, new ones for classes that it does not have."""
    images = [dict(id=number, file_name=f"photos/{NAMES[place]}", height=96, width=144) for number, place in ((40, 1), (7, 3))]
    document = dict(images=images, annotations=[], categories=[dict(id=9, name="red/dog"), dict(id=4, name="horse")])
    (tmp_path / "data.json").write_text(json.dumps(document))
    assert predict(model, tmp_path / "data.json", tmp_path / "found") == 0
    written = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [image["id"] for image in written["images"]] == [7, 40]
    assert written["categories"] == [dict(id=10, name="cat"), dict(id=9, name="red/dog")]
    assert [(item["image_id"], item["category_id"]) for item in written["annotations"]] == [(7, 9), (40, 9)]


def test_broken_image_is_named_and_the_others_are_done(model, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no image")
    assert predict(model, photos, tmp_path / "found") == 1
    assert "1 image cannot be read (first: broken.png)" in capsys.readouterr().err
    (photos / "broken.png").unlink()
    assert predict(model, photos, tmp_path / "found") == 0
    assert "7 of them are done" in capsys.readouterr().out
    assert [image["id"] for image in json.loads((tmp_path / "found/predictions.json").read_text())["images"]] == list(range(1, 8))


def test_other_settings_are_refused(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "found") == 0
    before = results(tmp_path / "found")
    assert predict(model, photos, tmp_path / "found", "-t", "0.8") == 1
    assert "was begun with another threshold; take another folder with -o" in capsys.readouterr().err
    assert results(tmp_path / "found") == before


@pytest.mark.parametrize("flags, name", [
    (["--mean_pixel", "100", "100", "100"], "mean_pixel"), (["--layout", "[NCHW]"], "layout"), (["-d", "AUTO"], "device"),
    (["--masks", "polygon"], "masks"), (["--tile", "64"], "tile")], ids=lambda value: value if isinstance(value, str) else "")
def test_whatever_changes_results_is_a_setting(model, photos, tmp_path, capsys, flags, name):
    """Neither goes a run on with it, nor are shares merged."""
    assert predict(model, photos, tmp_path / "a", "--shard", "1/2") == 0
    assert predict(model, photos, tmp_path / "a", "--shard", "1/2", *flags) == 1
    assert f"was begun with another {name}" in capsys.readouterr().err
    assert predict(model, photos, tmp_path / "b", "--shard", "2/2", *flags) == 0
    assert main(["--merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path)]) == 1
    assert "is of another run than" in capsys.readouterr().err


def test_part_of_another_version(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "a") == 0
    part = tmp_path / "a/part-1-of-1.jsonl"
    head, rest = part.read_text().split("\n", 1)
    head = json.loads(head)
    del head["settings"]["mean_pixel"]
    part.write_text(json.dumps(head) + "\n" + rest)
    assert predict(model, photos, tmp_path / "a") == 1
    assert "was begun with another version of this tool" in capsys.readouterr().err


def test_a_replaced_image_is_done_again(model, photos, tmp_path, capsys):
    assert predict(model, photos, tmp_path / "found", "--crops", "box", "--draw") == 0
    crops = list((tmp_path / "found/crops").rglob("*.png"))
    cv2.imwrite(str(photos / NAMES[0]), np.zeros((96, 144, 3), np.uint8))  # nothing is found on black
    (photos / NAMES[1]).touch()
    capsys.readouterr()
    assert predict(model, photos, tmp_path / "found", "--crops", "box", "--draw") == 0
    assert "5 of them are done" in capsys.readouterr().out
    rows = list(csv.reader((tmp_path / "found/counts.csv").read_text(encoding="utf-8").splitlines()))
    assert [row[-1] for row in rows[1:]] == ["0", *map(str, FOUND[1:])]
    left = list((tmp_path / "found/crops").rglob("*.png"))
    assert {path.parent.name for path in crops} - {path.parent.name for path in left} == {NAMES[0]}
    assert cv2.imread(str(tmp_path / "found/pictures" / NAMES[0])).max() == 0


BAD_LINES = ["5", "{}", "[]", "null", '"a"', "[" * 100_000, "\xff", '{"file_name": 5}',
             '{"file_name": "x", "id": 1, "place": 99, "height": 1, "width": 1, "annotations": []}',
             '{"file_name": "x", "id": 1, "place": 0, "height": 1, "width": 1, "annotations": [5]}',
             '{"file_name": "x", "id": 1, "place": 0, "height": 1, "width": 1, "annotations": [{"category_id": 99}]}']


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:60])
def test_lines_that_are_none_of_ours_do_not_count(model, photos, tmp_path, capsys, line):
    assert predict(model, photos, tmp_path / "whole") == 0
    part = tmp_path / "whole/part-1-of-1.jsonl"
    lines = part.read_bytes().splitlines()
    before = results(tmp_path / "whole")
    part.write_bytes(b"\n".join([*lines[:3], line.encode("latin-1"), *lines[4:]]) + b"\n")
    assert main(["--merge", str(part.parent), "-o", str(tmp_path / "merged")]) == 1
    assert "1 of 7 images are missing" in capsys.readouterr().err
    assert predict(model, photos, part.parent) == 0
    assert "6 of them are done" in capsys.readouterr().out and results(part.parent) == before


@pytest.mark.parametrize("line", [*BAD_LINES, '{"settings": {}, "images": 1, "listing": ""}',
                                  '{"settings": {"classes": "ab", "category_ids": [1]}, "images": 7, "listing": ""}'],
                         ids=lambda line: line[:60])
def test_damaged_head(model, photos, tmp_path, capsys, line):
    """Nobody knows how its lines were made: they are done again, and not merged."""
    assert predict(model, photos, tmp_path / "whole") == 0
    part = tmp_path / "whole/part-1-of-1.jsonl"
    before = results(tmp_path / "whole")
    part.write_bytes(b"\n".join([line.encode("latin-1"), *part.read_bytes().splitlines()[1:]]) + b"\n")
    assert main(["--merge", str(part.parent), "-o", str(tmp_path / "merged")]) == 1
    assert "its first line is damaged" in capsys.readouterr().err
    assert predict(model, photos, part.parent) == 0
    assert "of them are done" not in capsys.readouterr().out and results(part.parent) == before


def test_cells_that_a_spreadsheet_would_compute(photos, tmp_path):
    for number, name in enumerate(("=1+1.png", "+a.png", "@b.png", "-c.png")):
        (photos / NAMES[number]).rename(photos / name)
    xml = tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=dict(label_info='{"label_names": ["-cat", "=HYPERLINK(1)"]}'))
    assert predict(str(xml), photos, tmp_path / "found") == 0
    rows = list(csv.reader((tmp_path / "found/counts.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["image", "'-cat", "'=HYPERLINK(1)", "all"]
    assert [row[0] for row in rows[1:5]] == ["'+a.png", "'-c.png", "'=1+1.png", "'@b.png"] and rows[1][1:] == ["0", "1", "1"]


def test_nothing_that_is_read_is_overwritten(model, photos, tmp_path, capsys):
    """Pictures of the pictures of an earlier run, a COCO file called as the result is, crops of crops."""
    pictures = tmp_path / "found/pictures"
    pictures.parent.mkdir()
    photos.rename(pictures)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    assert predict(model, pictures, tmp_path / "found", "--draw") == 1
    assert "is an input and would be overwritten" in capsys.readouterr().err
    document = dict(images=[dict(id=1, file_name=NAMES[0], height=96, width=144)], annotations=[], categories=[])
    (pictures / "predictions.json").write_text(json.dumps(document))
    assert predict(model, pictures / "predictions.json", pictures) == 1
    assert "predictions.json: is an input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_class_name_that_is_longer_than_a_file_name_may_be(photos, tmp_path):
    xml = tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=dict(label_info=json.dumps(dict(label_names=["a", "b" * 300]))))
    assert predict(str(xml), photos, tmp_path / "found", "--crops", "box") == 0


def test_pictures_stay_in_the_output_folder(model, photos, tmp_path):
    data = tmp_path / "annotations/data.json"
    data.parent.mkdir()
    images = [dict(id=1, file_name=f"../photos/{NAMES[0]}", height=96, width=144),
              dict(id=2, file_name=str(photos / NAMES[1]), height=96, width=144)]
    data.write_text(json.dumps(dict(images=images, annotations=[], categories=[])))
    assert predict(model, data, tmp_path / "found", "--draw", "--data-root", data.parent) == 0
    pictures = [path.name for path in (tmp_path / "found/pictures").rglob("*.png")]
    assert sorted(pictures) == NAMES[:2] and sorted(path.name for path in photos.iterdir()) == NAMES


@pytest.mark.parametrize("flags, code, says", [
    (["-o", "x"], 2, "-m/--model and -i/--input are required"),
    (["-m", "m.xml", "-i", ".", "-o", "x", "--shard", "4/3"], 2, "got '4/3', expected I/N"),
    (["-m", "m.xml", "-i", "nowhere", "-o", "x"], 1, "nowhere: no such image or folder"),
    (["--merge", ".", "-o", "x"], 1, "no part files"),
], ids=["nothing", "share", "input", "merge"])
def test_mistakes(tmp_path, monkeypatch, capsys, flags, code, says):
    monkeypatch.chdir(tmp_path)
    try:
        assert main(flags) == code
    except SystemExit as error:
        assert error.code == code
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
