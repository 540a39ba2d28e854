"""Images that OpenCV reads otherwise than people see them are named before training reads them."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from instance_segmentation.coco import read_annotations
from instance_segmentation.errors import DatasetError

SIZE = 64, 48
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def cut(path):
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:-600])


def with_trailer(path):
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes() + b"appended by a camera" * 20)


def twelve_bits(path):
    cv2.imwrite(str(path), (NOISE[..., 0].astype(np.uint16) << 4))


def sixteen_bits(path):
    cv2.imwrite(str(path), (NOISE[..., 0].astype(np.uint16) << 8))


def floats(path):
    Image.fromarray(NOISE[..., 0].astype(np.float32)).save(path)


def pages(path):
    Image.fromarray(NOISE).save(path, save_all=True, append_images=[Image.fromarray(NOISE[::-1])])


def plain(path):
    Image.fromarray(NOISE).save(path)


def read(path):
    document = dict(images=[dict(id=1, file_name=path.name, width=64, height=48)], annotations=[],
                    categories=[dict(id=1, name="a")])
    (path.parent / "a.json").write_text(json.dumps(document))
    return read_annotations([path.parent / "a.json"], [path.parent])


@pytest.mark.parametrize("name, make, words", [
    ("a.jpg", cut, r"1 image cannot be decoded; export or copy again \(a.jpg: image file is truncated"),
    ("a.png", twelve_bits, "in only the lowest 12 of them"),
    ("a.tif", twelve_bits, "in only the lowest 12 of them"),
    ("a.tif", floats, "1 image OpenCV does not read; convert to 8-bit")])
def test_what_training_cannot_see_is_refused(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(DatasetError, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize("name, make", [
    ("a.jpg", plain), ("a.jpg", with_trailer), ("a.png", plain), ("a.png", sixteen_bits), ("a.tif", sixteen_bits),
    ("a.tif", plain),
    ("a.webp", plain), ("a.bmp", plain)])
def test_what_training_sees_as_people_do_is_taken_without_a_word(tmp_path, name, make):
    make(tmp_path / name)
    assert read(tmp_path / name).notes == ()


def test_several_pages_are_told(tmp_path):
    pages(tmp_path / "a.tif")
    assert "1 image of several pages, of which only the first is seen" in read(tmp_path / "a.tif").notes[0]


def test_every_cut_image_of_many_is_found(tmp_path):
    """Of more than a thousand only some are decoded; a training ended at the first of the others that was cut off."""
    for number in range(1205):
        (plain if number % 600 != 599 else cut)(tmp_path / f"{number}.jpg")
    document = dict(images=[dict(id=number, file_name=f"{number}.jpg", width=64, height=48) for number in range(1205)],
                    annotations=[], categories=[dict(id=1, name="a")])
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="2 images cannot be decoded"):
        read_annotations([tmp_path / "a.json"], [tmp_path])
