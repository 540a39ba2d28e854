"""The sample data set: reproducible, valid, and made of the cases a real data set has."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.coco import read_annotations
from instance_segmentation.coco.masks import to_rle
from instance_segmentation.data.sample import CLASSES, draw_scene, write_sample_dataset


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample_dataset(tmp_path_factory.mktemp("sample") / "data", train=12, val=4, size_hw=(240, 320), seed=3)


@pytest.fixture(scope="module")
def train(sample):
    return read_annotations([sample / "train.json"], [sample / "train"])


def test_nothing_has_to_be_mended(sample, train):
    assert train.notes == ()
    assert train.classes == CLASSES and len(train.images) == 12
    assert len(read_annotations([sample / "val.json"], [sample / "val"]).images) == 4


def test_same_seed_same_files(sample, tmp_path):
    again = write_sample_dataset(tmp_path, train=2, val=1, size_hw=(240, 320), seed=3)
    first, second = (json.loads((folder / "train.json").read_text()) for folder in (sample, again))
    assert second["annotations"] == [entry for entry in first["annotations"] if entry["image_id"] <= 2]
    name = second["images"][1]["file_name"]
    assert np.array_equal(cv2.imread(str(sample / "train" / name)), cv2.imread(str(again / "train" / name)))
    other = write_sample_dataset(tmp_path / "other", train=1, val=0, size_hw=(240, 320), seed=4)
    assert (other / "train" / "train_001.jpg").read_bytes() != (sample / "train" / "train_001.jpg").read_bytes()


def test_train_and_val_differ(sample):
    pictures = [cv2.imread(str(path)) for path in (sample / "train" / "train_001.jpg", sample / "val" / "val_001.jpg")]
    assert not np.array_equal(*pictures)


def test_all_kinds_of_annotation_occur(train):
    entries = train.annotations
    kinds = {type(entry["segmentation"]) for entry in entries if not entry["iscrowd"]}
    assert kinds == {list, dict}
    assert any(entry["iscrowd"] for entry in entries)
    assert any(len(entry["segmentation"]) > 1 for entry in entries if isinstance(entry["segmentation"], list))
    assert {entry["category_id"] for entry in entries} == set(range(1, len(CLASSES) + 1))


def test_objects_hide_one_another_and_never_share_a_pixel(train):
    """Polygons are simplified to 0.6 px, so neighbours may share a pixel of their border, not more."""
    for image in train.images:
        size_hw = image["height"], image["width"]
        count = sum(coco_mask.decode(to_rle(entry["segmentation"], size_hw)).astype(int)
                    for entry in train.annotations if entry["image_id"] == image["id"])
        shared = (count > 1).astype(np.uint8)
        assert not cv2.erode(shared, np.ones((3, 3))).any()


def test_sizes_vary_within_what_a_small_network_learns(train):
    sides = [max(entry["bbox"][2:]) / 240 for entry in train.annotations if not entry["iscrowd"]]
    assert min(sides) > 0.06 and max(sides) <= 0.46
    assert np.quantile(sides, 0.9) > 1.5 * np.quantile(sides, 0.1)
    objects = [sum(entry["image_id"] == image["id"] for entry in train.annotations) for image in train.images]
    assert min(objects) >= 1 and max(objects) <= 8


def test_masks_lie_on_the_drawn_objects():
    """Inside and outside of a mask differ in the picture: else the mask was written beside its object."""
    differences = []
    for seed in range(6):
        picture, objects = draw_scene(np.random.default_rng(seed), (200, 200))
        for entry in objects:
            mask = coco_mask.decode(to_rle(entry["segmentation"], (200, 200)))
            near = cv2.dilate(mask, np.ones((9, 9))) - cv2.dilate(mask, np.ones((3, 3)))
            differences.append(np.abs(picture[mask > 0].mean(0) - picture[near > 0].mean(0)).max())
    assert np.median(differences) > 25
