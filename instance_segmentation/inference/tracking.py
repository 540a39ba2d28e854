"""Follow objects through a video by the overlap of their masks and by their colours. Needs no torch."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import mask_crop, moved

SMOOTHING = 0.2  # weight of the newest speed: boxes shake by a pixel or two, and shrink where something covers the object

SECOND_IOU, SECOND_CHOICE = 0.3, 0.01  # for what overlaps less than it should, and how little such a pair counts
ALIKE, THIRD_CHOICE = 0.6, 0.0001  # for what is apart: how much alike it has to look, and how little such a pair counts
REACH, EDGE_PX = 1.5, 2  # how far apart that may be in diagonals of the object's box, and what counts as the picture's edge
BINS = 8  # of each colour channel
SAME_IOU, INSIDE = 0.3, 0.8  # IoU above which two masks are of one object, and share of the smaller one within one class
TRUSTED = 20  # frames after which a track counts twice as much as a new one, which a false detection may have begun


@dataclass
class Track:
    """An object that was seen.

    Attributes:
        number: Its id.
        label: Its class.
        rle: Its last mask.
        colours: Its histogram (`colours_of`), averaged over the last frames.
        frame: When it was seen last.
        seen_frames: In how many frames it was seen.
        speed: Pixels per frame (x, y), averaged over the last frames.
        box: x, y, width and height in pixels of its last mask's box.
        size: Diagonal in pixels of its largest box; only a strip of it may be left before it is covered.
    """

    number: int
    label: int
    rle: dict
    colours: np.ndarray
    frame: int
    seen_frames: int = 1
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def __post_init__(self):
        self.box = coco_mask.toBbox(self.rle)
        self.size = np.hypot(*self.box[2:])

    def expected(self, frame):
        """Where the mask will be in another frame if it goes on moving as it did."""
        dx, dy = np.rint(self.speed * (frame - self.frame)).astype(int).tolist()
        return moved(self.rle, dx, dy) if dx or dy else self.rle

    def seen(self, rle, colours, frame):
        """Take the mask and the colours of a new frame."""
        box = coco_mask.toBbox(rle)
        self.speed = self.speed + SMOOTHING * ((_centres(box) - _centres(self.box)) / (frame - self.frame) - self.speed)
        self.rle, self.box, self.frame, self.seen_frames = rle, box, frame, self.seen_frames + 1
        self.colours = self.colours + (colours - self.colours) / min(self.seen_frames, TRUSTED)
        self.size = max(self.size, np.hypot(*box[2:]))


class IouTracker:
    """Give an object the same number from frame to frame.

    What is found is compared with each track's mask where it was, and where the track's speed would have brought it. Masks and
    boxes that overlap less are the second choice; what looks alike near the place where an object was lost is the third. The
    pairs of all objects and tracks are chosen together, so that the sum of their IoUs is greatest, those of long tracks and of
    like colours counting more: first among objects and tracks of a class, then among what is left, for networks take an object
    for one of another class now and then. Detections of one object (`objects_of`) share a number.

    Args:
        min_iou: IoU above which two masks can be the same object.
        age_frames: A track ends when its object was not seen for more frames than this.
    """

    def __init__(self, min_iou=0.5, age_frames=60):
        self.min_iou, self.age_frames = min_iou, age_frames
        self.tracks, self.frame, self.number = [], 0, 0

    def __call__(self, prediction):
        """Return the next frame's Prediction with its `track_ids`; without its `image_bgr` only overlaps count."""
        self.frame += 1
        self.tracks = [track for track in self.tracks if self.frame - track.frame <= self.age_frames + 1]
        colours, objects = colours_of(prediction), objects_of(prediction)
        ids = np.full(len(prediction), -1, np.int64)
        for index, track in self._pairs(prediction, colours, objects):
            ids[objects == objects[index]] = track.number
            track.seen(prediction.rles[index], colours[index], self.frame)
        for index in np.unique(objects[ids < 0]):
            ids[objects == index], self.number = self.number, self.number + 1
            self.tracks.append(Track(int(ids[index]), prediction.labels[index], prediction.rles[index], colours[index],
                                     self.frame))
        return replace(prediction, track_ids=ids)

    def _pairs(self, prediction, colours, objects):
        """Pairs (index of a detection, Track) that belong together, one for each object and track at most."""
        if not len(prediction) or not self.tracks:
            return
        worth = self._worth(prediction, colours)
        same_class = prediction.labels[:, None] == [track.label for track in self.tracks]
        for allowed in (same_class, ~same_class):
            for index, known in _best_pairs(np.where(allowed, worth, 0), objects):
                yield index, self.tracks[known]
                worth[objects == objects[index]], worth[:, known] = 0, 0

    def _worth(self, prediction, colours):
        """What it is worth (N, tracks) to take a detection for a track's object; 0 where it cannot be."""
        # objects go on moving or turn round: a track's mask is compared where it was and where its speed brings it
        places = [track.rle for track in self.tracks], [track.expected(self.frame) for track in self.tracks]
        masks = np.maximum(*(_ious(prediction.rles, rles) for rles in places))
        boxes = np.maximum(*(_ious(coco_mask.toBbox(prediction.rles), coco_mask.toBbox(rles)) for rles in places))
        # a thin ring that moves by its own width leaves its mask but not its box; any first choice counts more than any second
        second = np.maximum(masks, boxes)
        likeness = np.sqrt(colours) @ np.sqrt([track.colours for track in self.tracks]).T  # Bhattacharyya coefficient
        worth = np.where(masks > self.min_iou, masks, SECOND_CHOICE * second * (second > SECOND_IOU))
        worth = np.maximum(worth, THIRD_CHOICE * (likeness > ALIKE) * self._near(prediction))
        return worth * (1 + likeness) * [1 + min(track.seen_frames / TRUSTED, 1) for track in self.tracks]

    def _near(self, prediction):
        """Whether (N, tracks) a detection is so near to where a track's object was lost that it may be seen again."""
        found, lost = coco_mask.toBbox(prediction.rles), np.stack([track.box for track in self.tracks])
        away = np.linalg.norm(_centres(found)[:, None] - _centres(lost), axis=2) / [max(track.size, 1) for track in self.tracks]
        # one leaves the picture, the next one enters it
        return (away < REACH) & ~(_at_edge(found, prediction.size_hw)[:, None] & _at_edge(lost, prediction.size_hw))


def _ious(found, known):
    """IoUs (found, known) of masks or of boxes."""
    return coco_mask.iou(found, known, [0] * len(known))


def _centres(boxes):
    """Centres (…, 2) of boxes (…, 4), x, y, width, height."""
    return boxes[..., :2] + boxes[..., 2:] / 2


def _at_edge(boxes, size_hw):
    """Which of N boxes, x, y, width, height, touch the edge of the picture."""
    return ((boxes[:, :2] < EDGE_PX) | (boxes[:, :2] + boxes[:, 2:] > np.subtract(size_hw[::-1], EDGE_PX))).any(1)


def _best_pairs(worth, objects):
    """Pairs (index of a detection, index of a track) of the greatest worth in all, one for each object and track at most."""
    from scipy.optimize import linear_sum_assignment  # takes a moment to import, and pictures need none
    numbers = np.unique(objects)
    best = np.stack([np.where(objects == number, worth.T, -1).argmax(1) for number in numbers])  # (objects, tracks)
    rows, columns = linear_sum_assignment(np.take_along_axis(worth, best, 0), maximize=True)
    return [(best[row, k], k) for row, k in zip(rows, columns, strict=True) if worth[best[row, k], k]]


def colours_of(prediction):
    """Histograms (N, BINS³) of the pixels of each mask, which sum up to 1; all 0 for an empty mask, or without a picture."""
    histograms = np.zeros((len(prediction), BINS ** 3), np.float32)
    if prediction.image_bgr is None:
        return histograms
    for histogram, rle in zip(histograms, prediction.rles, strict=True):
        mask, (x, y) = mask_crop(rle)
        if mask.size:
            crop = prediction.image_bgr[y:y + mask.shape[0], x:x + mask.shape[1]]
            histogram[:] = cv2.calcHist([crop], [0, 1, 2], mask, [BINS] * 3, [0, 256] * 3).ravel() / np.count_nonzero(mask)
    return histograms


def objects_of(prediction):
    """Tell which detections are of one object: what can be seen of two objects never covers the same pixels.

    Networks find an object twice, under two classes, or a part of it besides. Masks of any class that overlap by `SAME_IOU`,
    and masks of one class of which one lies within the other, are of one object; a tie within its wearer stays another.

    Returns:
        (N,) for each detection the index of the surest one of its object.
    """
    if not len(prediction):
        return np.zeros(0, np.int64)
    areas = np.array([max(int(coco_mask.area(rle)), 1) for rle in prediction.rles])  # a list of over 255 fails with numpy 2
    shares = coco_mask.iou(prediction.rles, prediction.rles, [1] * len(prediction))
    common = shares * areas[:, None]  # pycocotools divides a crowd's intersection by the detection's area
    same_class = prediction.labels[:, None] == prediction.labels
    one = common / (areas[:, None] + areas - common) > SAME_IOU
    one |= same_class & (common / np.minimum(areas[:, None], areas) > INSIDE)
    objects = np.full(len(prediction), -1)
    for index in np.argsort(-prediction.scores, kind="stable"):
        if objects[index] < 0:
            objects[(objects < 0) & one[index]] = index
            objects[index] = index  # an empty mask does not overlap with itself
    return objects
