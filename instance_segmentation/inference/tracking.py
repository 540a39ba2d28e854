"""Follow objects through a video by the overlap of their masks. Needs no torch."""

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco_mask


@dataclass
class Track:
    """An object that was seen: its class, its last mask and the frame of it."""

    number: int
    label: int
    rle: dict
    frame: int


class IouTracker:
    """Give objects of the same class whose masks overlap from frame to frame the same number.

    The pairs of all objects and tracks are chosen together, so that the sum of their IoUs is greatest. The scene is taken to
    be more or less still: an object keeps its number while its mask's IoU with its last mask is above `min_iou`.

    Args:
        min_iou: IoU above which two masks can be the same object.
        age_frames: A track ends when its object was not seen for more frames than this.
    """

    def __init__(self, min_iou=0.5, age_frames=10):
        self.min_iou, self.age_frames = min_iou, age_frames
        self.tracks, self.frame, self.number = [], 0, 0

    def __call__(self, prediction):
        """Return the next frame's Prediction with its `track_ids`."""
        self.frame += 1
        self.tracks = [track for track in self.tracks if self.frame - track.frame <= self.age_frames + 1]
        ids = np.full(len(prediction), -1, np.int64)
        for index, track in self._pairs(prediction):
            ids[index], track.rle, track.frame = track.number, prediction.rles[index], self.frame
        for index in np.flatnonzero(ids < 0):
            ids[index], self.number = self.number, self.number + 1
            self.tracks.append(Track(int(ids[index]), prediction.labels[index], prediction.rles[index], self.frame))
        return replace(prediction, track_ids=ids)

    def _pairs(self, prediction):
        """Pairs (index of a detection, Track) that belong together."""
        if not len(prediction) or not self.tracks:
            return []
        from scipy.optimize import linear_sum_assignment  # takes a moment to import, and pictures need none
        ious = coco_mask.iou(prediction.rles, [track.rle for track in self.tracks], [0] * len(self.tracks))
        ious[prediction.labels[:, None] != [track.label for track in self.tracks]] = 0
        ious[ious <= self.min_iou] = 0
        found, known = linear_sum_assignment(ious, maximize=True)
        return [(i, self.tracks[k]) for i, k in zip(found, known, strict=True) if ious[i, k]]
