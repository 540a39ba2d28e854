"""Every kind of input gives its pictures; what cannot be read is named."""

from itertools import islice

import cv2
import numpy as np
import pytest

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.sources import open_source, read_image


def grey(level):
    return np.full((48, 64, 3), level, np.uint8)


def levels(source, number=None):
    return [round(float(image.mean()), -1) for _, image in islice(source.pictures, number)]


@pytest.fixture
def video(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 48))
    for level in (50, 100, 150, 200):
        writer.write(grey(level))
    writer.release()
    return tmp_path / "v.avi"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, level in (("b.png", 100), ("a.PNG", 50)):
        cv2.imwrite(str(tmp_path / "photos" / name), grey(level))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_image_once_or_for_ever(folder):
    source = open_source(str(folder / "b.png"))
    assert source.kind == "image" and not source.moving and source.fps is None
    assert levels(source) == [100]
    assert levels(open_source(str(folder / "b.png"), loop=True), 3) == [100] * 3


def test_folder_in_order_without_other_files(folder):
    source = open_source(folder)
    assert (source.kind, source.moving) == ("folder", False)
    assert [name for name, _ in source.pictures] == ["a.PNG", "b.png"]
    assert levels(open_source(folder, loop=True), 5) == [50, 100, 50, 100, 50]


def test_video_with_its_rate(video):
    source = open_source(video)
    assert (source.kind, source.moving, source.fps) == ("video", True, 12)
    assert levels(source) == [50, 100, 150, 200]
    assert levels(open_source(video, loop=True), 6) == [50, 100, 150, 200, 50, 100]


def test_url(video):
    source = open_source(video.as_uri())
    assert source.kind == "stream" and levels(source) == [50, 100, 150, 200]


def test_image_whose_name_is_a_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("x.png", grey(50))
    (tmp_path / "x.png").rename("0")
    assert open_source("0").kind == "image"


def test_damaged_image_in_a_folder_is_named_when_its_turn_comes(folder):
    (folder / "a.PNG").write_bytes((folder / "a.PNG").read_bytes()[:20])
    with pytest.raises(MediaError, match="a.PNG"):
        next(open_source(folder).pictures)


def test_video_that_breaks_off_gives_its_frames_and_then_an_error(video):
    video.write_bytes(video.read_bytes().replace(b"00dc", b"junk"))
    with pytest.raises(MediaError, match="v.avi: holds no frame that can be read"):
        levels(open_source(video))


@pytest.mark.parametrize(("name", "says"), [("nothing.mp4", "no such file"), ("97", "no camera 97"),
                                            ("http://127.0.0.1:9/v.mp4", "is the address right")])
def test_what_is_not_there(name, says):
    with pytest.raises(MediaError, match=says):
        open_source(name)


def test_neither_image_nor_video(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(MediaError, match="text.mp4: neither"):
        open_source(tmp_path / "text.mp4")
    with pytest.raises(MediaError, match="holds no images"):
        open_source(tmp_path)


@pytest.mark.parametrize(("name", "says"), [("no.jpg", "no.jpg: there is no such file"), (".", "is a folder, expected an image"),
                                            ("text.jpg", "cannot be read as an image"), ("empty.jpg", "cannot be read as an")])
def test_images_that_cannot_be_read_say_why_and_opencv_adds_nothing(tmp_path, name, says, capfd):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(MediaError, match=says):
        read_image(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_an_empty_list_and_a_number(tmp_path):
    with pytest.raises(MediaError, match="the list of images is empty"):
        open_source([])
    with pytest.raises(MediaError, match="there is no camera 97"):
        open_source(97)


def test_one_image_in_a_list_or_folder_is_one_picture(folder, video):
    (folder / "a.PNG").unlink()
    files = folder / "b.png", video
    assert [open_source(what).kind for what in ([folder / "b.png"], folder)] == ["image", "image"]
    assert open_source([folder / "b.png"]).files == (files[0],) and open_source(video).files == (files[1],)
