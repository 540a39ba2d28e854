"""What a network found on one image, whatever format the network has."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass
class Prediction:
    """Detections of one image, best score first.

    Attributes:
        boxes: (N, 4) float32 x1 y1 x2 y2 in pixels of the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64 indices into `classes`.
        rles: N compressed COCO run-length encodings of the whole image.
        classes: Class names in label order.
        size_hw: Height and width of the image in pixels.
        track_ids: (N,) int64, the same for an object in all frames of a video; None without tracking.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    rles: list
    classes: tuple
    size_hw: tuple
    track_ids: np.ndarray | None = None

    def __len__(self):
        return len(self.scores)

    def above(self, threshold):
        """Return the detections whose score reaches `threshold`, a number or one per class (`IrInfo.class_thresholds`)."""
        keep = np.flatnonzero(self.scores >= np.broadcast_to(threshold, len(self.classes))[self.labels])
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep],
                       rles=[self.rles[i] for i in keep], track_ids=None if self.track_ids is None else self.track_ids[keep])

    def names(self):
        """Class name of each detection."""
        return [self.classes[label] for label in self.labels]

    def masks(self):
        """Dense masks, (N, H, W) bool; decoded on request because they are large."""
        from pycocotools import mask as coco_mask
        if not self.rles:
            return np.zeros((0, *self.size_hw), bool)
        return coco_mask.decode(self.rles).transpose(2, 0, 1).astype(bool)


def pair_up(expected, found, pair_px):
    """Pair detections of the same label, nearest boxes first.

    Args:
        expected, found: Anything with `boxes`, `scores` and `labels` like a Prediction's.
        pair_px: Detections whose corners differ by more are not taken for the same one.

    Returns:
        Pairs (index in expected, index in found), and those without a partner as (side, index), side 0 being expected.
    """
    distance = np.abs(expected.boxes[:, None] - found.boxes[None]).max(2, initial=0)
    distance = distance + np.abs(expected.scores[:, None] - found.scores[None])
    distance[expected.labels[:, None] != found.labels[None]] = np.inf
    pairs, left = [], [set(range(len(expected.boxes))), set(range(len(found.boxes)))]
    for flat in np.argsort(distance, axis=None, kind="stable"):
        first, second = np.unravel_index(flat, distance.shape)
        if distance[first, second] > pair_px:
            break
        if first in left[0] and second in left[1]:
            pairs.append((first, second))
            left[0].remove(first)
            left[1].remove(second)
    return pairs, [(side, index) for side in (0, 1) for index in sorted(left[side])]
