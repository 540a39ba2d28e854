"""The one paste against a plain dense one; tests/component/test_mask_head.py compares it with mmdet's own paste, live."""

import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import mask_crop, moved, paste_rles


def pasted(boxes, masks, size_hw, **options):
    """What paste_rles found, as (N, H, W) pixels."""
    rles = paste_rles(np.float32(boxes), masks, size_hw, **options)
    return coco_mask.decode(rles).transpose(2, 0, 1) if rles else np.zeros((0, *size_hw))


def paste_densely(box, mask, size_hw, threshold=0.5):
    """Bilinear sampling at every pixel of the image, by one weight matrix per axis; 0 from the second pixel beside the box."""
    def weights(pixels, low, high, cells):
        index = np.arange(pixels)
        positions = (index + 0.5 - low) / (high - low) * cells - 0.5
        reached = (index >= np.floor(low) - 1) & (index < np.ceil(high) + 1)
        return np.clip(1 - np.abs(positions[:, None] - np.arange(cells)), 0, 1) * reached[:, None]
    rows = weights(size_hw[0], box[1], box[3], mask.shape[0])
    return rows @ mask @ weights(size_hw[1], box[0], box[2], mask.shape[1]).T >= threshold


def random_boxes(number, size_hw, seed):
    """Boxes of every size, some of them beyond the borders, two covering the whole image."""
    corners = np.random.default_rng(seed).uniform(-0.2, 1.2, (number, 2, 2)) * size_hw[::-1]
    boxes = np.concatenate([corners.min(1), corners.max(1) + 0.1], 1).astype(np.float32)
    boxes[:2] = [[0, 0, *size_hw[::-1]], [-30, -30, size_hw[1] + 30, size_hw[0] + 30]]
    return boxes


@pytest.mark.parametrize("cells", [14, 28])
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_equals_a_dense_paste_and_pycocotools_encode(cells, threshold):
    boxes = random_boxes(40, (61, 83), 1)
    masks = np.random.default_rng(2).random((40, cells, cells)).astype(np.float32)
    expected = [coco_mask.encode(np.asfortranarray(paste_densely(box, mask, (61, 83), threshold), np.uint8))
                for box, mask in zip(boxes.astype(float), masks, strict=True)]
    assert paste_rles(boxes, masks, (61, 83), threshold) == expected


@pytest.mark.parametrize("seed", range(8))
def test_low_thresholds_reach_one_pixel_beyond_the_box_to_every_side(seed):
    """With few cells, half of one is many pixels."""
    boxes = random_boxes(20, (61, 83), seed)
    masks = np.random.default_rng(seed).uniform(0.3, 1, (20, 3, 3)).astype(np.float32)
    expected = np.stack([paste_densely(box, mask, (61, 83), 0.1) for box, mask in zip(boxes.astype(float), masks, strict=True)])
    np.testing.assert_array_equal(pasted(boxes, masks, (61, 83), threshold=0.1), expected)


@pytest.mark.parametrize("box", [[np.nan] * 4, [2, 2, np.nan, 9], [2, 2, np.inf, 9], [-np.inf, 2, np.inf, 9], [-1e30, 2, 1e30, 9],
                                 [1e30, 1e30, 3e38, 3e38]], ids=str)
def test_box_that_is_no_number(box):
    """What a device computes that overflows; its neighbours keep their masks."""
    masks = pasted([[2, 2, 9, 9], box, [3, 3, 8, 8]], np.ones((3, 14, 14)), (20, 30))
    assert (masks[0].sum(), masks[2].sum()) == (49, 25)
    assert masks[1].sum() == (7 * 30 if np.isfinite(box).all() and box[0] < 0 else 0)


def test_certain_mask_fills_its_box():
    (mask,) = pasted([[5, 4, 15, 12]], np.ones((1, 14, 14)), (20, 30))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 5, 14)
    assert mask.sum() == 80


def test_a_pixel_exactly_at_the_threshold_belongs_to_the_object():
    (mask,) = pasted([[5.5, 4.5, 15.5, 12.5]], np.ones((1, 14, 14)), (20, 30))
    assert mask[4, 10] == mask[12, 10] == mask[8, 5] == mask[8, 15] == 1 and mask[3, 10] == mask[13, 10] == 0


def test_full_columns_join_into_one_run():
    (rle,) = paste_rles(np.float32([[-9, -9, 39, 29]]), np.ones((1, 14, 14)), (20, 30))
    assert rle == coco_mask.encode(np.ones((20, 30), np.uint8, order="F"))


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 9, 5, 5], [40, 40, 50, 50], [-9, 2, -3, 8], [2, 30, 8, 39]],
                         ids=["no width", "inverted", "outside", "left of it", "below it"])
def test_box_without_pixels_gives_an_empty_mask_between_its_neighbours(box):
    boxes = np.float32([[2, 2, 9, 9], box, [3, 3, 8, 8]])
    first, rle, last = paste_rles(boxes, np.ones((3, 14, 14)), (20, 30))
    assert coco_mask.area(rle) == 0 and rle["size"] == [20, 30]
    assert (coco_mask.area(first), coco_mask.area(last)) == (49, 25)


def test_nothing_above_the_threshold():
    assert pasted([[2, 2, 9, 9]], np.full((1, 14, 14), 0.49), (20, 30)).sum() == 0


def test_no_detections():
    assert paste_rles(np.zeros((0, 4)), np.zeros((0, 14, 14)), (20, 30)) == []


def test_box_beyond_the_border_is_cut():
    (mask,) = pasted([[-10, -10, 8, 8]], np.ones((1, 14, 14)), (20, 30))
    assert mask[:8, :8].all() and mask.sum() == 64


def test_a_mask_too_few_is_an_error():
    with pytest.raises(ValueError, match="2 boxes for 1 masks"):
        paste_rles(np.zeros((2, 4)), np.zeros((1, 14, 14)), (20, 30))


def test_hundred_masks_as_wide_as_a_full_hd_image_take_less_than_50_mb():
    boxes = np.float32([[0, 0, 1920, 1080]] * 100)
    masks = np.random.default_rng(0).random((100, 28, 28), np.float32) * 0.2 + np.hanning(28)[:, None] * np.hanning(28)
    tracemalloc.start()
    paste_rles(boxes, masks, (1080, 1920))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("pixels", [(slice(3, 9), slice(5, 20)), (slice(0, 20), slice(0, 30)), (slice(0, 20), slice(7, 9)),
                                    (slice(19, 20), slice(29, 30)), (slice(0, 0), slice(0, 0))],
                         ids=["inside", "whole image", "full columns", "last pixel", "empty"])
def test_crop_equals_the_decoded_mask(pixels):
    mask = np.zeros((20, 30), np.uint8, order="F")
    mask[pixels] = 1
    mask[6, 10:12] = 0
    crop, (x, y) = mask_crop(coco_mask.encode(mask))
    put = np.zeros_like(mask)
    put[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
    np.testing.assert_array_equal(put, mask)
    assert crop.flags.c_contiguous and (not crop.size or crop[0].any() and crop[:, -1].any())


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (4, 0), (0, 3), (-2, -5), (40, 0), (-40, 0), (-8, 0), (11, 0)])
def test_moved_equals_moving_the_pixels(dx, dy):
    mask = np.zeros((20, 30), np.uint8)
    mask[6:9, 5:20] = mask[9:14, 8] = 1
    expected = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    inside = (columns + dx >= 0) & (columns + dx < 30)
    expected[rows[inside] + dy, columns[inside] + dx] = 1
    np.testing.assert_array_equal(coco_mask.decode(moved(coco_mask.encode(np.asfortranarray(mask)), dx, dy)), expected)
