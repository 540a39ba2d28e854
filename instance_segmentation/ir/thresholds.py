"""The score from which a detection is worth showing: the one of best F1 on annotated images. Needs only numpy."""

from typing import NamedTuple

import numpy as np


class Threshold(NamedTuple):
    """A score in [0, 1], and precision, recall and F1 of the detections that reach it."""

    score: float
    precision: float
    recall: float
    f1: float


def best_f1(scores, hits, objects, lowest=0.0):
    """The threshold of the best F1.

    Args:
        scores: (N,) of the detections, in any order.
        hits: (N,) bool, whether a detection was matched with an object. COCO matches greedily, the surest detection first, so
            that leaving out unsure ones changes no other match.
        objects: Number of objects there are to find.
        lowest: Score below which there are no detections.

    Returns:
        A Threshold halfway to the next lower score, so that rounding decides nothing; None when no detection is a hit.
    """
    if not hits.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, found = np.append(scores[order], lowest), np.cumsum(hits[order])
    last = np.flatnonzero(np.diff(scores) < 0)  # of each run of equal scores: a threshold takes all of them or none
    f1 = 2 * found[last] / (last + 1 + objects)
    best = last[np.argmax(f1)]
    return Threshold(float(scores[best] + scores[best + 1]) / 2, float(found[best] / (best + 1)),
                     float(found[best] / objects), float(f1.max()))


def thresholds(matches, lowest=0.0):
    """One threshold for all classes together, and one per class.

    Args:
        matches: Per class, scores, hits and number of objects, as of `best_f1`.
        lowest: Score below which there are no detections.

    Returns:
        A Threshold and a list of one per class; each None without a hit, as for a class that the images do not show.
    """
    scores, hits, objects = zip(*matches, strict=True)
    together = best_f1(np.concatenate(scores), np.concatenate(hits), sum(objects), lowest)
    return together, [best_f1(*of_class, lowest) for of_class in matches]
