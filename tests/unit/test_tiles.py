"""Cutting into tiles and putting together again, on masks that are known."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.coco import read_annotations, tiled
from instance_segmentation.coco.masks import to_rle
from instance_segmentation.coco.tiles import LEAST_VISIBLE, windows
from instance_segmentation.errors import DatasetError
from instance_segmentation.inference.masks import placed
from instance_segmentation.inference.tiles import detect_in_tiles, merge
from instance_segmentation.prediction import Prediction


@pytest.mark.parametrize("size_hw, tile, overlap", [((100, 170), 64, 0.25), ((64, 64), 64, 0.5), ((40, 300), 64, 0.0)],
                         ids=["both ways", "one tile", "lower than a tile"])
def test_tiles_cover_the_image_and_overlap_as_asked(size_hw, tile, overlap):
    seen, places = np.zeros(size_hw, int), windows(size_hw, tile, overlap)
    for x, y, width, height in places:
        assert x >= 0 and y >= 0 and x + width <= size_hw[1] and y + height <= size_hw[0]
        assert (width, height) == (min(tile, size_hw[1]), min(tile, size_hw[0]))
        seen[y:y + height, x:x + width] += 1
    assert seen.min() == 1
    columns = sorted({x for x, *_ in places})
    assert all(left + tile - right >= overlap * tile - 1 for left, right in zip(columns, columns[1:], strict=False))


def test_a_tile_that_covers_itself_is_refused():
    with pytest.raises(DatasetError, match="--overlap: got 1"):
        windows((100, 100), 10, 1)


def test_pieces_are_what_the_tile_shows_of_each_object(sample_data):
    whole = read_annotations(sample_data / "train.json", sample_data / "train")
    parts, pixels = tiled(whole, 64, 0.25), {item["id"]: 0 for item in whole.annotations}
    masks = {image["id"]: [] for image in whole.images}
    for item in whole.annotations:
        masks[item["image_id"]].append((item, coco_mask.decode(to_rle(item["segmentation"], (160, 192)))))
    of_tile = {tile["id"]: [] for tile in parts.images}
    for piece in parts.annotations:
        of_tile[piece["image_id"]].append(piece)
    for tile in parts.images:
        x, y, width, height = tile["tile"]
        expected = [(item, mask[y:y + height, x:x + width], mask.sum()) for item, mask in masks[tile["parent"]]]
        expected = [entry for entry in expected if entry[1].any()]
        pieces = [piece for piece in of_tile[tile["id"]] if piece["area"] >= 1]
        assert len(pieces) == len(expected)
        for piece, (item, mask, area) in zip(pieces, expected, strict=True):
            found = coco_mask.decode(to_rle(piece["segmentation"], (height, width)))
            assert (found != mask).sum() <= 0.02 * area + 2  # polygons are rasterised on a grid of 1/5 px
            share = mask.sum() / area
            assert piece["iscrowd"] == (item["iscrowd"] or share < LEAST_VISIBLE) or abs(share - LEAST_VISIBLE) < 0.03
            pixels[item["id"]] += 1
    assert max(pixels.values()) > 1


def test_tiles_without_objects_are_left_out_of_training(sample_data):
    whole = read_annotations(sample_data / "train.json", sample_data / "train")
    some = tiled(whole, 64, 0.0, keep_empty=False)
    shown = {item["image_id"] for item in some.annotations if not item["iscrowd"]}
    assert {image["id"] for image in some.images} == shown and len(shown) < len(tiled(whole, 64, 0.0).images)
    nothing = tiled(replace(whole, annotations=[]), 64, 0.0)
    assert nothing.annotations == [] and len(nothing.images) == len(tiled(whole, 64, 0.0).images)


def rle_of(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_a_placed_mask_has_the_tiles_pixels(density):
    tile = np.random.default_rng(0).random((13, 17)) < density
    expected = np.zeros((40, 50), np.uint8)
    expected[9:22, 33:50] = tile
    assert (coco_mask.decode(placed(rle_of(tile), 33, 9, (40, 50))) == expected).all()


def detection(mask, score, label=0):
    """A Prediction of one mask."""
    y, x = np.nonzero(mask)
    return Prediction(np.float32([[x.min(), y.min(), x.max() + 1, y.max() + 1]]), np.float32([score]), np.array([label]),
                      [rle_of(mask)], ("a", "b"), mask.shape)


def disc(size_hw, x, y, radius):
    rows, columns = np.mgrid[:size_hw[0], :size_hw[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius ** 2


PLACES = [(0, 0, 40, 40), (20, 0, 40, 40)]


def test_a_cut_piece_gives_way_to_the_whole_object_though_it_scores_higher():
    whole = disc((40, 60), 38, 20, 6)
    found = merge([detection(whole[:, :40], 0.9), detection(whole[:, 20:], 0.6)], PLACES, (40, 60))
    assert len(found) == 1 and (found.masks()[0] == whole).all() and found.scores[0] == np.float32(0.6)
    assert found.boxes[0].tolist() == [32, 14, 45, 27]


@pytest.mark.parametrize("label, x, left", [(0, 30, 1), (1, 30, 2), (0, 44, 2)], ids=["same", "another class", "elsewhere"])
def test_only_the_same_object_is_merged(label, x, left):
    first, second = disc((40, 60), 30, 20, 5), disc((40, 60), x, 20, 5)
    found = merge([detection(first[:, :40], 0.8), detection(second[:, 20:], 0.9, label)], PLACES, (40, 60))
    assert len(found) == left and found.scores[0] == np.float32(0.9)


def test_of_an_object_larger_than_the_overlap_the_best_piece_stays():
    bar = np.zeros((40, 60), bool)
    bar[15:25, 2:58] = True
    found = merge([detection(bar[:, :40], 0.8), detection(bar[:, 20:], 0.9)], PLACES, (40, 60))
    assert len(found) == 1 and found.boxes[0].tolist() == [20, 15, 58, 25]


def test_detecting_in_tiles_finds_what_is_in_the_image():
    spots = [(10, 12), (30, 20), (52, 30)]
    picture = np.zeros((40, 60, 3), np.uint8)
    for x, y in spots:
        picture[disc((40, 60), x, y, 4)] = 255

    def bright(image):
        """A detector of bright spots."""
        import cv2
        count, labels = cv2.connectedComponents(image[..., 0])
        one = [detection(labels == index, 0.5 + index / 10) for index in range(1, count)]
        rles = [rle for item in one for rle in item.rles]
        return Prediction(np.concatenate([np.zeros((0, 4)), *(item.boxes for item in one)]), np.array([0.5] * len(one)),
                          np.zeros(len(one), np.int64), rles, ("a", "b"), image.shape[:2])

    found = detect_in_tiles(bright, picture, 32, 0.5)
    assert len(found) == 3 and (found.masks().any(0) == (picture[..., 0] > 0)).all()
    assert len(detect_in_tiles(bright, picture * 0, 32, 0.5)) == 0
