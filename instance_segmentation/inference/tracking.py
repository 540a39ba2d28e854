"""Follow objects through a video by the overlap of their masks. Needs no torch."""

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import moved

SMOOTHING = 0.2  # weight of the newest speed: boxes shake by a pixel or two, and shrink where something covers the object

SECOND_CHOICE = 0.01


@dataclass
class Track:
    """An object that was seen.

    Attributes:
        number: Its id.
        label: Its class.
        rle: Its last mask.
        centre: (x, y) of that mask's box in pixels.
        frame: When that was.
        speed: Pixels per frame (x, y), averaged over the last frames.
    """

    number: int
    label: int
    rle: dict
    centre: np.ndarray
    frame: int
    speed: np.ndarray

    def expected(self, frame):
        """Where the mask will be in another frame if it goes on moving as it did."""
        dx, dy = np.rint(self.speed * (frame - self.frame)).astype(int).tolist()
        return moved(self.rle, dx, dy) if dx or dy else self.rle

    def seen(self, rle, centre, frame):
        """Take the mask of a new frame."""
        self.speed = self.speed + SMOOTHING * ((centre - self.centre) / (frame - self.frame) - self.speed)
        self.rle, self.centre, self.frame = rle, centre, frame


class IouTracker:
    """Give objects of the same class whose masks overlap from frame to frame the same number.

    A track's mask is compared where it was, and where the track's speed would have brought it. Boxes that overlap are the
    second choice. The pairs of all objects and tracks are chosen together, so that the sum of their IoUs is greatest.

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
        corners = coco_mask.toBbox(prediction.rles).reshape(-1, 4)
        centres, ids = corners[:, :2] + corners[:, 2:] / 2, np.full(len(prediction), -1, np.int64)
        for index, track in self._pairs(prediction):
            ids[index] = track.number
            track.seen(prediction.rles[index], centres[index], self.frame)
        for index in np.flatnonzero(ids < 0):
            ids[index], self.number = self.number, self.number + 1
            self.tracks.append(Track(int(ids[index]), prediction.labels[index], prediction.rles[index], centres[index],
                                     self.frame, np.zeros(2)))
        return replace(prediction, track_ids=ids)

    def _pairs(self, prediction):
        """Pairs (index of a detection, Track) that belong together."""
        if not len(prediction) or not self.tracks:
            return []
        from scipy.optimize import linear_sum_assignment  # takes a moment to import, and pictures need none
        # objects go on moving or turn round: a track's mask is compared where it was and where its speed brings it
        places = [track.rle for track in self.tracks], [track.expected(self.frame) for track in self.tracks]
        masks = np.maximum(*(self._overlaps(prediction.rles, rles) for rles in places))
        boxes = np.maximum(*(self._overlaps(coco_mask.toBbox(prediction.rles), coco_mask.toBbox(rles)) for rles in places))
        # a thin ring that moves by its own width leaves its mask but not its box; any mask counts more than any box
        worth = np.where(masks, masks, SECOND_CHOICE * boxes)
        worth[prediction.labels[:, None] != [track.label for track in self.tracks]] = 0
        found, known = linear_sum_assignment(worth, maximize=True)
        return [(i, self.tracks[k]) for i, k in zip(found, known, strict=True) if worth[i, k]]

    def _overlaps(self, found, known):
        """IoUs (found, known) of masks or of boxes, 0 where they are too small."""
        ious = coco_mask.iou(found, known, [0] * len(known))
        return ious * (ious > self.min_iou)
