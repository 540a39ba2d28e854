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
