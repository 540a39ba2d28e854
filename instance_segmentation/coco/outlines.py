"""Turn a mask into polygons that rasterise to the same mask, holes included."""

import itertools

import contourpy
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import to_rle


def rle_to_polygons(rle):
    """Return the polygons of an RLE in normal form, px; see `mask_to_polygons`."""
    rle = to_rle(rle, rle["size"])
    x, y, width, height = coco_mask.toBbox(rle).astype(int)
    polygons = mask_to_polygons(coco_mask.decode(rle)[y:y + height, x:x + width])
    return [(np.reshape(polygon, (-1, 2)) + (x, y)).ravel().tolist() for polygon in polygons]


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
    """Join holes to their outline: from each one's leftmost point straight to the left, to the ring that is met there.

    Args:
        rings: List of (N, 2), the outline first, then its holes; their points lie halfway between two neighbouring pixel centres.

    Returns:
        (M, 2), one closed outline.
    """
    if len(rings) == 1:
        return rings[0]
    rings = [rings[0], *(np.roll(hole, -int(hole[:, 0].argmin()), axis=0) for hole in rings[1:])]
    places = [(ring, index) for ring, points in enumerate(rings) for index in range(len(points))]
    x, y = np.concatenate(rings).T
    order = np.lexsort((x, y))  # row by row, from left to right
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    starts = np.cumsum([0, *map(len, rings[:-1])])
    doors = {}  # ring → {index of a point: holes that are joined there}
    for hole in range(1, len(rings)):
        ring, index = places[order[rank[starts[hole]] - 1]]
        doors.setdefault(ring, {}).setdefault(index, []).append(hole)
    return _walk(rings, doors)


def _walk(rings, doors):
    """Walk along the outline, and at each door around its hole and back."""
    pieces, ways = [], [(0, 0, iter(sorted(doors.get(0, {}).items())))]
    while ways:
        ring, begin, left = ways.pop()
        index, holes = next(left, (None, ()))
        if index is None:
            pieces.append(rings[ring][begin:])
            pieces.append(rings[ring][:1] if ring else rings[ring][:0])  # a hole ends where it began, at its door
            continue
        pieces.append(rings[ring][begin:index + 1])
        ways.append((ring, index, left))  # goes on from the same point, once the holes are done
        ways += [(hole, 0, iter(sorted(doors.get(hole, {}).items()))) for hole in holes]
    return np.concatenate(pieces)
