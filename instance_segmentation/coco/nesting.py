"""Whether one part of a polygon lies inside another: COCO fills it, where its author may have meant a hole."""

import numpy as np

LARGEST_PARTS = 1000
"""Parts that are looked into, the largest ones: of more, a handful of holes among many thousand parts may go unseen."""
TRIED_POINTS = 256
"""Points of a part that must all lie inside, spread evenly over its outline."""
EDGES = 20_000_000
"""Edges tested against points before the search is given up, about half a second: it serves no more than a note."""


def has_nested_part(parts):
    """Whether any part lies inside another, by the even-odd rule.

    Args:
        parts: List of [x1, y1, x2, y2, …], each of at least 3 points.
    """
    points = [np.asarray(part).reshape(-1, 2) for part in parts]
    lows, highs = np.array([part.min(0) for part in points]), np.array([part.max(0) for part in points])
    largest = np.argsort(-np.prod(highs - lows, axis=1), kind="stable")[:LARGEST_PARTS]
    left = EDGES
    for outer in largest:
        inside = (lows >= lows[outer]).all(1) & (highs <= highs[outer]).all(1)
        for inner in np.flatnonzero(inside):
            if inner == outer:
                continue
            tried = points[inner][:: -(-len(points[inner]) // TRIED_POINTS)]
            left -= len(points[outer]) * (1 + len(tried))
            if left < 0:
                return False
            if _inside(tried[:1], points[outer]).all() and _inside(tried, points[outer]).all():
                return True
    return False


def _inside(points, ring):
    """Return (N,) bool: count the edges of `ring` (M, 2) that a ray to the right of each of `points` (N, 2) crosses."""
    x, y = points[:, :1], points[:, 1:]
    (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, 0).T
    spans = (y1 > y) != (y2 > y)
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    return (spans & (x < (x2 - x1) * (y - y1) / rise + x1)).sum(1) % 2 == 1
