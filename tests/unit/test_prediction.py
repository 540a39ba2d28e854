"""What a Prediction gives on request: outlines, crops, counts, COCO, a picture."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.errors import WeightsError
from instance_segmentation.prediction import Prediction
from tests.unit import tiny_models
from tests.unit.test_tracking import seen

BLUE = np.full((60, 200, 3), (200, 50, 20), np.uint8)


def blobs(number=5, size_hw=(60, 200)):
    """A Prediction of overlapping shapes with holes and several pieces, and of an empty mask."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(number, *size_hw)).cumsum(1).cumsum(2)
    masks = np.concatenate([noise > 0.6 * noise.max((1, 2), keepdims=True), np.zeros((1, *size_hw), bool)])
    rles = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    boxes = np.float32([coco_mask.toBbox(rle) for rle in rles])
    boxes[:, 2:] += boxes[:, :2]
    return Prediction(boxes, np.linspace(0.9, 0.4, number + 1, dtype=np.float32), np.arange(number + 1) % 2, rles, ("a", "b"),
                      size_hw, image_bgr=random.integers(0, 256, (*size_hw, 3), np.uint8))


def test_outlines_rasterise_to_the_masks():
    found = blobs()
    *outlines, empty = found.polygons()
    assert empty == [] and max(map(len, outlines)) > 1
    for polygons, mask in zip(outlines, found.masks(), strict=False):
        raster = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *found.size_hw)))
        np.testing.assert_array_equal(raster, mask)


def test_crops_hold_the_masks_pixels_or_the_boxes():
    found = blobs()
    for by in ("mask", "box"):
        crops = found.crops(by)
        assert len(crops) == len(found) and crops[-1].size == 0
        for (x1, y1, x2, y2), mask, crop in zip(found.boxes.astype(int), found.masks(), crops, strict=True):
            expected = found.image_bgr * mask[..., None] if by == "mask" else found.image_bgr
            np.testing.assert_array_equal(crop, expected[y1:y2, x1:x2])


def test_crops_by_something_else():
    with pytest.raises(ValueError, match="expected 'mask' or 'box'"):
        blobs().crops("circle")


def test_nothing_found():
    found = replace(seen(), image_bgr=BLUE)
    assert (found.polygons(), found.crops("mask"), found.crops("box"), found.to_coco()) == ([], [], [], [])
    assert found.count().total() == 0
    np.testing.assert_array_equal(found.draw(), BLUE)


def test_count_and_choice_of_classes():
    found = seen((0, 0, 9, 9, 1), (20, 0, 9, 9, 0), (40, 0, 9, 9, 1))
    assert found.count() == {"b": 2, "a": 1}
    assert found.of_classes(["b"]).boxes[:, 0].tolist() == [0, 40]
    assert len(found.of_classes([])) == 0
    with pytest.raises(WeightsError, match="knows no class 'A'; did you mean a\\?; it knows: a, b"):
        found.of_classes(["A"])


@pytest.mark.parametrize("masks", ["rle", "polygon"])
def test_coco_annotations(masks):
    found = blobs(4)
    items = json.loads(json.dumps(found.to_coco(7, first_id=100, category_ids=[5, 3], masks=masks)))
    assert [item["id"] for item in items] == [100, 101, 102, 103, 104]
    assert {item["image_id"] for item in items} == {7} and [item["category_id"] for item in items] == [5, 3, 5, 3, 5]
    for item, rle in zip(items, found.rles, strict=True):
        assert item["bbox"] == coco_mask.toBbox(rle).tolist() and item["area"] == coco_mask.area(rle)
    segmentations = [item["segmentation"] for item in items[:-1]]
    shapes = segmentations if masks == "rle" else [coco_mask.merge(coco_mask.frPyObjects(one, 60, 200)) for one in segmentations]
    np.testing.assert_array_equal(coco_mask.decode(shapes), coco_mask.decode(found.rles[:-1]))


def test_picture_is_a_new_one_and_needs_the_image():
    found = replace(seen((20, 10, 60, 40, 0)), image_bgr=BLUE)
    drawn = found.draw(names=False, boxes=False)
    assert (drawn[0] == BLUE[0]).all() and (drawn[30, 50] != BLUE[30, 50]).any() and (BLUE == (200, 50, 20)).all()
    assert (found.draw(boxes=False, text_scale=1.5) != drawn).any()  # the name
    with pytest.raises(ValueError, match="no image"):
        seen((0, 0, 9, 9, 0)).draw()


def test_documented_programs_run_as_printed(repo, tmp_path, monkeypatch, capsys):
    program, pixellib = re.findall(r"```python\n(.*?)```", (repo / "docs/python.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for folder in ("export", "photos"):
        (tmp_path / folder).mkdir()
    tiny_models.mask_rcnn(tmp_path / "export/model.xml", rt_info=dict(label_info='{"label_names": ["cat", "dog"]}'))
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        cv2.imwrite(name, np.full((64, 96, 3), 250, np.uint8))
    exec(program, {})
    exec(pixellib.replace("model.xml", "export/model.xml").replace("image.jpg", "photo.jpg", 1), {})
    assert (tmp_path / "segmented_object_1.jpg").is_file() and (tmp_path / "output_image.jpg").is_file()
    out = capsys.readouterr().out
    assert re.search(r"Counter\({'dog': 1}\) \[0.88\d*] \[\[24. 16. 72. 48.]]", out) and "b.jpg Counter({'dog': 1})\n" in out
