"""Turn a mask into polygons that rasterise to the same mask, holes included."""

import itertools

import contourpy
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import to_rle


def rle_to_polygons(rle):
    """Return the polygons of an RLE in normal form, px; see `mask_to_polygons`."""
    return mask_to_polygons(coco_mask.decode(to_rle(rle, rle["size"])))


def mask_to_polygons(mask):
    """Return polygons [[x1, y1, …], …] which pycocotools rasterises to exactly this mask.

    One polygon per connected piece. COCO fills a ring inside another ring, so a hole is joined to its outer ring by a
    cut walked there and back: the two walks cancel in the even-odd raster, here and after any resize.

    Args:
        mask: (H, W) of 0 and 1, at least one pixel set.
    """
    padded = np.pad(np.asarray(mask, np.float64), 1)
    contours = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset).filled(0.5, np.inf)
    polygons = []
    for points, offsets in zip(*contours, strict=True):
        points = points - 0.5  # the padding moved pixel centres by +1, and a centre lies at +0.5
        rings = [points[start : stop - 1] for start, stop in itertools.pairwise(offsets)]  # without the closing point
        polygons.append(_keyhole(rings).ravel().tolist())
    return polygons


def _keyhole(rings):
    outline, *holes = rings
    for hole in holes:
        hole = np.roll(hole, -int(hole[:, 0].argmin()), axis=0)  # start at its leftmost point
        nearest = int(((outline - hole[0]) ** 2).sum(1).argmin())
        outline = np.concatenate([outline[: nearest + 1], hole, hole[:1], outline[nearest:]])
    return outline
