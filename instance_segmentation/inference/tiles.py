"""Detections of overlapping tiles as detections of the image. Needs no torch, and never makes a mask of the image's size."""

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.tiles import windows
from instance_segmentation.inference.masks import placed
from instance_segmentation.prediction import Prediction

SAME = 0.5  # mask IoU, or share of a cut piece, from which two masks of a class are of the same object
EDGE_PX = 1.0


def detect_in_tiles(detector, image_bgr, tile_px, overlap):
    """Detect in an image tile by tile.

    Args:
        detector: A Detector.
        image_bgr: (H, W, 3) uint8.
        tile_px, overlap: As of `windows`. Objects should be smaller than the overlap: of larger ones pieces stay.

    Returns:
        A Prediction in pixels of the image.
    """
    places = windows(image_bgr.shape[:2], tile_px, overlap)
    return merge([detector(image_bgr[y:y + h, x:x + w]) for x, y, w, h in places], places, image_bgr.shape[:2])


def merge(found, places, size_hw):
    """Put the detections of tiles together; of detections of the same object the best stays.

    Args:
        found: A Prediction for each tile, in its pixels; at least one.
        places: (x, y, width, height) of each tile in the image.
        size_hw: Height and width of the image in pixels.
    """
    offsets = np.float32([[x, y, x, y] for x, y, _, _ in places])
    boxes = np.concatenate([one.boxes + offset for one, offset in zip(found, offsets, strict=True)])
    cut = np.concatenate([is_cut(one.boxes, place, size_hw) for one, place in zip(found, places, strict=True)])
    rles = [placed(rle, x, y, size_hw) for one, (x, y, _, _) in zip(found, places, strict=True) for rle in one.rles]
    scores, labels = (np.concatenate([getattr(one, name) for one in found]) for name in ("scores", "labels"))
    keep = [index for label in np.unique(labels) for index in suppress(rles, scores, cut, np.flatnonzero(labels == label))]
    keep = sorted(keep, key=lambda index: -scores[index])
    return Prediction(boxes[keep], scores[keep], labels[keep], [rles[index] for index in keep], found[0].classes, tuple(size_hw))


def is_cut(boxes, place, size_hw):
    """Which boxes (N, 4), in a tile's pixels, touch a border of the tile that is none of the image's."""
    (x, y, width, height), (full_height, full_width) = place, size_hw
    inner = np.array([x > 0, y > 0, x + width < full_width, y + height < full_height])
    gaps = np.concatenate([boxes[:, :2], (width, height) - boxes[:, 2:]], 1)
    return (inner & (gaps < EDGE_PX)).any(1)


def suppress(rles, scores, cut, of):
    """Greedy NMS of the masks of one class.

    Whole objects go first, by score, and compare by IoU. Then come those that a tile's border cut: they go when half of them is
    inside a mask that stays, for another tile shows more of the object (SAHI's "intersection over smaller", arXiv 2202.06934).

    Args:
        rles, scores, cut: Of all detections.
        of: Indices of the class's.

    Returns:
        The indices that stay.
    """
    order, stay = sorted(of, key=lambda index: (cut[index], -scores[index])), []
    masks = [rles[index] for index in order]
    same = coco_mask.iou(masks, masks, [0] * len(masks)) >= SAME
    pieces = [place for place, index in enumerate(order) if cut[index]]
    if pieces:
        same[pieces] |= coco_mask.iou([masks[place] for place in pieces], masks, [1] * len(masks)) >= SAME
    free = np.ones(len(order), bool)
    for place, index in enumerate(order):
        if free[place]:
            stay.append(index)
            free &= ~same[:, place]
    return stay
