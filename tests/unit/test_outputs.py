"""Videos that play, numbered pictures, JSON lines; names that cannot work are refused before anything runs."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.outputs import JsonLines, Output, fitted, write_image
from instance_segmentation.inference.sources import open_source
from tests.unit.test_tracking import seen


def picture(level, size_hw=(48, 64)):
    return np.full((*size_hw, 3), level, np.uint8)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_video(tmp_path, suffix):
    with Output(tmp_path / f"v{suffix}", fps=12.5, limit=3) as output:
        for level in (50, 100, 150, 200):
            output.write(picture(level))
    source = open_source(tmp_path / f"v{suffix}")
    assert source.fps == pytest.approx(12.5)
    assert [round(image.mean(), -1) for _, image in source.pictures] == [50, 100, 150]


def test_video_is_motion_jpeg(tmp_path):
    with Output(tmp_path / "v.avi") as output:
        output.write(picture(9))
    assert b"MJPG" in (tmp_path / "v.avi").read_bytes()[:400]


def test_video_is_playable_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), Output(tmp_path / "v.mp4") as output:
        output.write(picture(50))
        raise RuntimeError("boom")
    assert len(list(open_source(tmp_path / "v.mp4").pictures)) == 1


def test_photos_of_other_sizes_are_fitted_into_the_video(tmp_path):
    with Output(tmp_path / "v.avi") as output:
        output.write(picture(200))
        output.write(picture(200, (96, 32)))
    _, second = list(open_source(tmp_path / "v.avi").pictures)[1]
    assert second.shape[:2] == (48, 64) and second[:, :20].mean() < 9 and second[:, 26:38].mean() > 190


def test_numbered_pictures(tmp_path):
    with Output(tmp_path / "out_%03d.png", limit=2) as output:
        for level in (50, 100, 150):
            output.write(picture(level))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out_000.png", "out_001.png"]
    assert cv2.imread(str(tmp_path / "out_001.png")).mean() == 100


@pytest.mark.parametrize(("name", "says"), [("v.mkv", ".avi, .mp4"), ("out.jpg", "out_%03d.jpg"), ("no/v.avi", "no folder")])
def test_names_that_cannot_work(tmp_path, name, says):
    with pytest.raises(MediaError, match=says):
        Output(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, first", [("100%_%03d.png", "100%_000.png"), ("%%_%d.png", "%_0.png"), ("a%d%.png", "a0%.png"),
                                         ("%2d.png", " 0.png")])
def test_percent_signs_beside_the_number(tmp_path, name, first):
    with Output(tmp_path / name) as output:
        output.write(picture(50))
    assert [path.name for path in tmp_path.iterdir()] == [first]


@pytest.mark.parametrize("name", ["out_%03d_%s.jpg", "x_%03d_%d.jpg", "%-5d_%d.jpg", "50%off_%d.jpg"])
def test_formats_that_are_not_one_number(tmp_path, name):
    with pytest.raises(MediaError, match="expected one number such as %03d"):
        Output(tmp_path / name)


def test_a_single_picture_may_be_called_anything(tmp_path):
    with Output(tmp_path / "50%off %s.png", single=True) as output:
        output.write(picture(50))
    assert (tmp_path / "50%off %s.png").is_file()


@pytest.mark.parametrize("size_hw, name", [((0, 0), "a.png"), ((1, 70_000), "a.jpg")])
def test_pictures_that_no_file_can_hold(tmp_path, size_hw, name, capfd):
    with pytest.raises(MediaError, match="a size that its format knows"):
        write_image(tmp_path / name, picture(1, size_hw))
    assert capfd.readouterr().err == ""


def test_fitted_scales_up_and_down():
    assert fitted(picture(9), (96, 96)).shape[:2] == (72, 96)
    assert fitted(picture(9), (24, 96)).shape[:2] == (24, 32)


def test_json_lines(tmp_path):
    frame = seen((3, 4, 40, 20, 1))
    with JsonLines(tmp_path / "found.jsonl") as lines:
        lines.write(0, "a.jpg", frame)
        lines.write(1, "b.jpg", seen())
    first, second = map(json.loads, (tmp_path / "found.jsonl").read_text().splitlines())
    (item,) = first["objects"]
    assert (first["frame"], first["source"], first["size"]) == (0, "a.jpg", [60, 200])
    assert (item["label"], item["class_id"], item["score"], item["track_id"]) == ("b", 1, 1.0, None)
    assert coco_mask.area(item["mask"]) == 800 and second["objects"] == []
