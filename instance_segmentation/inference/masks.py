"""From the network's m×m mask probabilities to run-length encoded masks: the one paste of this project.

The checkpoint, the IR and every later format go through `paste_rles`, so a difference between them can only come from
the network. It samples like mmdet's `_do_paste_mask` (bilinear, `align_corners=False`, zero outside), but inside
the box only, and never holds a full-frame mask per detection.
"""

import numpy as np
from pycocotools import mask as coco_mask


def paste_rles(boxes_img, masks, size_hw, threshold=0.5):
    """Paste mask probabilities into their boxes and encode the result.

    Args:
        boxes_img: (N, 4) x1 y1 x2 y2 in pixels of the image.
        masks: (N, m, m) probabilities in [0, 1] of the box's crop.
        size_hw: Height and width of the image in pixels.
        threshold: A pixel belongs to the object when its probability reaches this.

    Returns:
        N compressed COCO RLEs, dicts with `size` [height, width] and `counts` (bytes).
    """
    return [encode_crop(*paste_crop(box, mask, size_hw, threshold), size_hw)
            for box, mask in zip(boxes_img, masks, strict=True)]


def paste_crop(box_img, mask, size_hw, threshold=0.5):
    """Resample one mask to the pixels its box touches.

    Args:
        box_img: x1 y1 x2 y2 in pixels of the image.
        mask: (m, m) probabilities.
        size_hw: Height and width of the image; pixels outside it are cut.
        threshold: Lowest probability of an object's pixel.

    Returns:
        The crop as a boolean (h, w) array, and its left and top pixel.
    """
    (height, width), (x1, y1, x2, y2) = size_hw, np.asarray(box_img, np.float32)
    # one pixel more on each side: bilinear sampling fades out beyond the box's edge
    left, right = np.clip([np.floor(x1) - 1, np.ceil(x2) + 1], 0, width).astype(int)
    top, bottom = np.clip([np.floor(y1) - 1, np.ceil(y2) + 1], 0, height).astype(int)
    rows = _interpolation(top, bottom, y1, y2, mask.shape[0])
    columns = _interpolation(left, right, x1, x2, mask.shape[1])
    return rows @ np.asarray(mask, np.float32) @ columns.T >= threshold, left, top


def _interpolation(start, stop, low, high, size):
    """Weights (stop - start, size) that resample `size` cells over [low, high] at the pixel centres start…stop.

    Bilinear sampling is separable, so two of these matrices paste a mask; each row has at most two non-zero weights.
    """
    if high <= low or stop <= start:  # a degenerate box covers nothing
        return np.zeros((max(stop - start, 0), size), np.float32)
    centres = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    cells = (centres - low) / (high - low) * size - np.float32(0.5)
    return np.clip(1 - np.abs(cells[:, None] - np.arange(size, dtype=np.float32)), 0, 1)


def encode_crop(crop, left, top, size_hw):
    """Encode a boolean (h, w) crop at (left, top) as a compressed RLE of the whole image.

    COCO counts run down the columns, so the runs of the crop's columns are shifted to their place in the image.
    """
    height, width = size_hw
    edges = np.diff(np.pad(crop.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)  # +1 where a run starts, -1 after its end
    offset = left * height + top
    column, row = np.nonzero(edges > 0)
    starts = offset + column * height + row
    column, row = np.nonzero(edges < 0)
    stops = offset + column * height + row
    touching = starts[1:] == stops[:-1]  # a run that reaches the bottom continues at the top of the next column
    bounds = np.stack([starts[np.r_[True, ~touching]], stops[np.r_[~touching, True]]], 1) if len(starts) else starts
    counts = np.diff(np.r_[0, bounds.ravel(), height * width])
    if counts[-1] == 0:  # the last run reaches the last pixel: COCO writes no empty run behind it
        counts = counts[:-1]
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
