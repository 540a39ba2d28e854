"""What a network found on one image, whatever format the network has."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from instance_segmentation.coco.findings import did_you_mean
from instance_segmentation.errors import WeightsError


@dataclass
class Prediction:
    """Detections of one image, best score first. Masks are kept as run lengths; pixels, outlines and crops are made when asked.

    Attributes:
        boxes: (N, 4) float32 x1 y1 x2 y2 in pixels of the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64 indices into `classes`.
        rles: N compressed COCO run-length encodings of the whole image.
        classes: Class names in label order.
        size_hw: Height and width of the image in pixels.
        track_ids: (N,) int64, the same for an object in all frames of a video; None without tracking.
        image_bgr: (H, W, 3) uint8, what they were found in; None where it was not kept. Who keeps thousands of Predictions sets
            it to None.
        source: Name of the image's file or video; empty when unknown.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    rles: list
    classes: tuple
    size_hw: tuple
    track_ids: np.ndarray | None = None
    image_bgr: np.ndarray | None = field(default=None, repr=False, compare=False)
    source: str = ""

    def __len__(self):
        return len(self.scores)

    def above(self, threshold):
        """Return the detections whose score reaches `threshold`, a number or one per class (`IrInfo.class_thresholds`)."""
        return self._kept(self.scores >= np.broadcast_to(threshold, len(self.classes))[self.labels])

    def of_classes(self, names):
        """Return the detections of these classes.

        Raises:
            WeightsError: A name is none of `classes`.
        """
        for name in names:
            if name not in self.classes:
                raise WeightsError(f"the model knows no class '{name}'{did_you_mean(name, self.classes)}; it knows: "
                                   f"{', '.join(self.classes)}")
        return self._kept(np.isin(self.labels, [self.classes.index(name) for name in names]))

    def _kept(self, wanted):
        keep = np.flatnonzero(wanted)
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

    def polygons(self):
        """Outlines: for each detection a list of [x1, y1, x2, y2, …] in pixels, which pycocotools rasterises to its mask."""
        return [_outlines(rle) for rle in self.rles]

    def crops(self, by="mask"):
        """Cut the detections out of the image.

        Args:
            by: `mask`, the mask's pixels on black; or `box`, all pixels of the box.

        Returns:
            N images (h, w, 3) uint8 BGR, (0, 0, 3) for an empty mask.

        Raises:
            ValueError: The image was not kept.
        """
        if by not in ("mask", "box"):
            raise ValueError(f"by: got {by!r}, expected 'mask' or 'box'")
        image = self._image()
        if by == "mask":
            return [_cut_out(image, rle) for rle in self.rles]
        corners = np.concatenate([np.floor(self.boxes[:, :2]), np.ceil(self.boxes[:, 2:])], 1).astype(int)
        return [image[y1:y2, x1:x2].copy() for x1, y1, x2, y2 in corners]

    def count(self):
        """Number of detections of each class that was found: a Counter of names."""
        return Counter(self.names())

    def to_coco(self, image_id=1, *, first_id=1, category_ids=None, masks="rle"):
        """The detections as COCO annotations with a `score`, which `COCO.loadRes` takes.

        Args:
            image_id: Of the image.
            first_id: Of the first annotation.
            category_ids: One per class in label order; from 1 when None.
            masks: `rle`, or `polygon`.

        Returns:
            A list of dicts that JSON can hold: boxes x, y, width, height and areas in pixels.
        """
        if masks not in ("rle", "polygon"):
            raise ValueError(f"masks: got {masks!r}, expected 'rle' or 'polygon'")
        from pycocotools import mask as coco_mask
        ids = category_ids or range(1, len(self.classes) + 1)
        shapes = self.polygons() if masks == "polygon" else [
            dict(size=list(rle["size"]), counts=rle["counts"].decode("ascii")) for rle in self.rles]
        sizes = np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], 1)
        return [dict(id=first_id + index, image_id=image_id, category_id=ids[label], bbox=box, area=float(coco_mask.area(rle)),
                     segmentation=shape, iscrowd=0, score=score) for index, (label, box, rle, shape, score) in
                enumerate(zip(self.labels.tolist(), sizes.tolist(), self.rles, shapes, self.scores.tolist(), strict=True))]

    def draw(self, **look):
        """Draw the detections on a copy of the image.

        Args:
            look: Attributes of `drawing.Look`, for example `scores=False`.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            ValueError: The image was not kept.
        """
        from instance_segmentation.inference.drawing import Look, draw
        return draw(self._image(), self, Look(**look))

    def _image(self):
        if self.image_bgr is None:
            raise ValueError("this Prediction has no image; set its image_bgr")
        return self.image_bgr


def _outlines(rle):
    """Polygons of a mask, from the pixels of its box only."""
    from instance_segmentation.coco.outlines import mask_to_polygons
    from instance_segmentation.inference.masks import mask_crop
    crop, corner = mask_crop(rle)
    polygons = mask_to_polygons(crop) if crop.size else []
    return [(np.reshape(points, (-1, 2)) + corner).ravel().tolist() for points in polygons]


def _cut_out(image, rle):
    """The pixels of a mask's box, black beside the mask."""
    from instance_segmentation.inference.masks import mask_crop
    crop, (x, y) = mask_crop(rle)
    return image[y:y + crop.shape[0], x:x + crop.shape[1]] * crop[..., None]


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
