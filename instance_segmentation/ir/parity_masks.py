"""Whether two masks of one object are the same but for rounding. Needs no torch.

A mask is m×m probabilities, each computed for a place inside a box; they are pasted back into that box, and a pixel belongs to
the object when the probability between the cells around it reaches the threshold. Two things may differ without an error: the
box's corners by `box_px`, and a probability by `mask`, the rounding of other kernels. What follows from that:

1. Where the corners of two boxes lie d pixels apart, no place inside them lies further apart, which is d · m / side cells. There
   the probability changes by that way times its slope: the largest difference between a cell and its neighbours, or of their
   logits times p · (1 - p), which is more where a sigmoid is steep. So the probabilities of one cell may differ by
   e = mask + slope · d · m / side, for x and y added up. d is what this pair of boxes differs by: that it is at most `box_px` is
   another check.
2. Both masks are then pasted into the same box, so that d counts once. A pixel's probability is a mean of four cells' (weights
   from 0 to 1 that add up to 1), so the two pixels' differ by no more than the same mean of the four e.
3. So a pixel can belong to one mask and not to the other only where its probability is no further from the threshold than that,
   which is where the mask + e reaches the threshold and the mask - e does not. These pixels are undecided and do not count. In
   all others the masks must be the same.

1 is checked cell by cell, also where both sides are sure; where it holds everywhere, 3 follows. The exceptions, for which 3 is
checked too: FP16 may let a share of the cells stray. And PointRend computes the least sure cells anew: of two that are as unsure
as each other rounding chooses, and later steps enlarge what came of it. Its few strays, and the pixels that they reach, do not
count.
"""

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import paste_rles


@dataclass(frozen=True)
class MaskGap:
    """How two masks differ.

    Attributes:
        probability: Largest difference of a cell.
        excess: The same beyond what follows from the boxes' distance; 0 when that explains all.
        strays: Share of the cells whose excess is more than rounding.
        iou: Of all pixels; 1 for two empty masks.
        decided_iou: Of those pixels that rounding cannot decide.
    """

    probability: float
    excess: float
    strays: float
    iou: float
    decided_iou: float


def mask_gap(one, other, frame, threshold, rounding, room=0.0):
    """Compare the masks of two (Found, index), whose values are finite.

    Args:
        one, other: The object on either side, in pixels of the network's input.
        frame: Height and width of the image, and its Placement in the input.
        threshold: Probability from which a pixel belongs to the object.
        rounding: Difference that two probabilities may have at the same place, `mask` in the text above.
        room: Share of a mask's cells that may differ because rounding chose which cells are computed anew.

    Returns:
        A MaskGap; strays that fit into `room` are in none of its numbers but `probability` and `iou`.
    """
    (found, index), (theirs, second) = one, other
    cells = found.masks[index], theirs.masks[second]
    difference, error = np.abs(cells[0] - cells[1]), rounding + carried(*cells, found.windows[index], theirs.windows[second])
    strays = difference > error
    if strays.mean() <= room:
        error, strays = np.where(strays, 1.0, error), np.zeros_like(strays)
    excess = np.maximum(difference - error + rounding, 0)
    iou, decided_iou = _ious(found, index, cells, error, frame, threshold)
    return MaskGap(float(difference.max()), float(excess.max()), float(strays.mean()), iou, decided_iou)


def carried(ours, theirs, window, other):
    """By how much each cell (m, m) may differ because its window (4,) does: step 1 of the text above, without `mask`."""
    width, height = np.maximum(window[2:] - window[:2], 1e-6)
    right, down = np.abs(window - other).reshape(2, 2).max(0)
    rows, columns = ours.shape
    return (np.maximum(_slope(ours, 1), _slope(theirs, 1)) * (right * columns / width)
            + np.maximum(_slope(ours, 0), _slope(theirs, 0)) * (down * rows / height))


def _slope(mask, axis):
    """How steep the probability is in each cell along an axis: by its neighbours', and by their logits', for it is a sigmoid."""
    sure = np.clip(mask.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.maximum(_step(mask, axis), sure * (1 - sure) * _step(np.log(sure / (1 - sure)), axis))


def _step(values, axis):
    """Largest difference between each cell and its two neighbours along an axis; beyond the edge it goes on as it came."""
    steps = np.pad(np.diff(values, axis=axis), [(1, 1) if side == axis else (0, 0) for side in (0, 1)], mode="reflect",
                   reflect_type="odd")
    return np.maximum(*(np.abs(np.delete(steps, end, axis)) for end in (0, -1)))


def _ious(found, index, cells, error, frame, threshold):
    """IoU of all pixels and of the decided ones, of two masks (cells) that are pasted into the box of a detection."""
    def paste(probabilities):
        return _pixels(found, index, probabilities, frame, threshold)

    ours, theirs = map(paste, cells)
    if np.array_equal(ours, theirs):
        return 1.0, 1.0
    undecided = paste(cells[0] + error) & ~paste(cells[0] - error)
    return _iou(ours, theirs), _iou(ours & ~undecided, theirs & ~undecided)


def _iou(ours, theirs):
    union = (ours | theirs).sum()
    return float((ours & theirs).sum() / union) if union else 1.0


def _pixels(found, index, cells, frame, threshold):
    """The pixels (h, w) that a mask's cells (m, m), pasted into a detection's window, cover; cut where its box ends."""
    size_hw, placement = frame
    (rle,) = paste_rles(placement.to_image(found.windows[index:index + 1]), cells[None], size_hw, threshold)
    pixels = coco_mask.decode(rle).astype(bool)
    left, top, right, bottom = placement.to_image(found.boxes[index]).round().astype(int)  # a window may be wider than the box
    return pixels if found.windows is found.boxes else pixels[top:bottom, left:right]
