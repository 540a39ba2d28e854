"""The one paste: golden values come from mmdet's own paste (tests/component/test_mask_head.py compares them live)."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import encode_crop, paste_crop, paste_rles


def dense(rles, size_hw):
    return coco_mask.decode(rles).transpose(2, 0, 1) if rles else np.zeros((0, *size_hw))


@pytest.mark.parametrize("left, top, hw", [(0, 0, (20, 30)), (4, 7, (5, 6)), (10, 0, (20, 3)), (29, 19, (1, 1))],
                         ids=["whole image", "inside", "full height", "last pixel"])
def test_encode_crop_equals_pycocotools(left, top, hw):
    crop = np.random.default_rng(0).random(hw) > 0.4
    image = np.zeros((20, 30), np.uint8, order="F")
    image[top:top + hw[0], left:left + hw[1]] = crop
    assert encode_crop(crop, left, top, (20, 30)) == coco_mask.encode(image)


def test_full_columns_join_into_one_run():
    assert coco_mask.area(encode_crop(np.ones((20, 30), bool), 0, 0, (20, 30))) == 600


def test_certain_mask_fills_its_box():
    (mask,) = dense(paste_rles(np.float32([[5, 4, 15, 12]]), np.ones((1, 14, 14)), (20, 30)), (20, 30))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 5, 14)
    assert mask.sum() == 80


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 9, 5, 5], [40, 40, 50, 50]], ids=["no width", "inverted", "outside"])
def test_box_without_pixels_gives_an_empty_mask(box):
    (rle,) = paste_rles(np.float32([box]), np.ones((1, 14, 14)), (20, 30))
    assert coco_mask.area(rle) == 0 and rle["size"] == [20, 30]


def test_no_detections():
    assert paste_rles(np.zeros((0, 4)), np.zeros((0, 14, 14)), (20, 30)) == []


def test_box_beyond_the_border_is_cut():
    crop, left, top = paste_crop([-10, -10, 8, 8], np.ones((14, 14)), (20, 30))
    assert (left, top) == (0, 0) and crop[:8, :8].all() and not crop[8:].any()
