"""From the network's m×m mask probabilities to run-length encoded masks: the one paste of this project.

The checkpoint, the IR and every later format go through `paste_rles`, so a difference between them can only come from
the network. It samples like mmdet's `_do_paste_mask` (bilinear, `align_corners=False`, zero outside), but never makes
the pixels: down one column of the image a pasted mask is linear between two of its cells, so the rows where it crosses
the threshold follow from the cells alone, and COCO's run lengths are the distances between those rows.
"""

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import run_lengths

GROUP = 16  # masks at a time: some 20 MB of columns when each is as wide as a full-HD image


def paste_rles(boxes_img, masks, size_hw, threshold=0.5):
    """Paste mask probabilities into their boxes and encode the result.

    Args:
        boxes_img: (N, 4) x1 y1 x2 y2 in pixels of the image; a box with a side that is no number (NaN) or endless has no mask.
        masks: (N, h, w) probabilities in [0, 1] of the box's crop.
        size_hw: Height and width of the image in pixels; what lies outside it is cut.
        threshold: A pixel belongs to the object when its probability reaches this, a number above 0.

    Returns:
        N compressed COCO RLEs, dicts with `size` [height, width] and `counts` (bytes).
    """
    boxes, masks, (height, width) = np.asarray(boxes_img, np.float64), np.asarray(masks, np.float32), size_hw
    if len(boxes) != len(masks):
        raise ValueError(f"{len(boxes)} boxes for {len(masks)} masks")
    boxes = np.where(np.isfinite(boxes).all(1, keepdims=True), boxes, 0)
    runs = [counts for first in range(0, len(boxes), GROUP)
            for counts in _run_lengths(boxes[first:first + GROUP], masks[first:first + GROUP], size_hw, threshold)]
    return coco_mask.frPyObjects([dict(size=[height, width], counts=counts) for counts in runs], height, width) if runs else []


def mask_crop(rle):
    """The pixels of a mask's bounding box, without making those of the whole image.

    Args:
        rle: A compressed COCO RLE.

    Returns:
        (h, w) uint8 of 0 and 1, contiguous, and the column and row in the image where it begins. (0, 0) when it is empty.
    """
    x, y, w, h = coco_mask.toBbox(rle).astype(int).tolist()
    height = rle["size"][0]
    bounds = np.clip(np.cumsum(run_lengths(rle["counts"].decode("ascii"))) - x * height, 0, w * height)
    inside = np.arange(len(bounds)) % 2
    columns = np.repeat(inside.astype(np.uint8), np.diff(bounds, prepend=0))
    return np.ascontiguousarray(columns.reshape(w, height)[:, y:y + h].T), (x, y)


def moved(rle, dx, dy):
    """A mask moved by (dx, dy) whole pixels, without making pixels.

    The columns lie one behind the other in an RLE, so a move is one addition. What is pushed over the lower or upper edge
    comes back in the next column: good enough to compare masks from frame to frame, not to draw them.
    """
    height, width = rle["size"]
    bounds = np.cumsum(run_lengths(rle["counts"].decode("ascii")))[:-1] + dx * height + dy
    lost = np.count_nonzero(bounds <= 0)
    bounds = bounds[lost:][bounds[lost:] < height * width]
    counts = np.diff(np.concatenate([[0] * (1 + lost % 2), bounds, [height * width]]))
    return coco_mask.frPyObjects(dict(size=rle["size"], counts=counts.astype(np.int64)), height, width)


def placed(rle, x, y, size_hw):
    """A tile's mask as one of the image, without making its pixels.

    Args:
        rle: A compressed COCO RLE of the tile.
        x, y: Column and row of the image where the tile begins; it lies inside the image.
        size_hw: Height and width of the image in pixels.
    """
    (height, width), (crop, (left, top)) = size_hw, mask_crop(rle)
    edges = np.diff(np.pad(crop.T, ((0, 0), (1, 1))).astype(np.int8))  # down each column
    starts, stops = (column * height + row + (x + left) * height + y + top
                     for column, row in (np.nonzero(edges == 1), np.nonzero(edges == -1)))
    return coco_mask.frPyObjects(dict(size=[height, width], counts=_counts(starts, stops, height * width)), height, width)


def _run_lengths(boxes, masks, size_hw, threshold):
    """COCO's uncompressed counts of each mask, a list of integer arrays."""
    height, pixels = size_hw[0], size_hw[0] * size_hw[1]
    item, x = _columns(boxes, size_hw[1])
    profiles = _profiles(boxes, masks, item, x)
    column, rows = _crossings(profiles, boxes[item, 1], boxes[item, 3], threshold)
    starts, stops = np.ceil(rows[::2]), np.floor(rows[1::2]) + 1  # the first pixel inside, the first one behind
    column = column[::2]
    low, high = (side[item[column]] for side in _reach(boxes[:, 1], boxes[:, 3], height))
    starts, stops = np.clip([starts, stops], low, high).astype(np.int64)
    seen = stops > starts  # a run between two pixel centres, or outside the image, has no pixel
    item, offset = item[column[seen]], x[column[seen]] * height
    starts, stops = offset + starts[seen], offset + stops[seen]
    slices = np.searchsorted(item, np.arange(len(masks) + 1))
    return [_counts(starts[a:b], stops[a:b], pixels) for a, b in zip(slices[:-1], slices[1:], strict=True)]


def _columns(boxes, width):
    """The image columns that the boxes touch: K indices of boxes, rising, and K pixel columns."""
    left, right = _reach(boxes[:, 0], boxes[:, 2], width)
    proper = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    widths = np.where(proper, np.maximum(right - left, 0), 0)
    item = np.repeat(np.arange(len(boxes)), widths)
    return item, left[item] + np.arange(len(item)) - (np.cumsum(widths) - widths)[item]


def _reach(low, high, length):
    """The first pixel that a box's side may reach, and the first one behind, as mmdet has it on the CPU.

    Bilinear sampling fades out beyond the box's edge, over half a cell; one pixel of that counts.
    """
    return np.clip([np.floor(low) - 1, np.ceil(high) + 1], 0, length).astype(np.int64)


def _profiles(boxes, masks, item, x):
    """Each image column's probabilities at the rows of its mask's cells: (K, h + 2), with the zeros above and below."""
    count, rows, columns = masks.shape
    cells = np.zeros((count, columns + 2, rows + 2), np.float32)
    cells[:, 1:-1, 1:-1] = masks.transpose(0, 2, 1)  # by column, for those are read whole
    low, high = boxes[item, 0], boxes[item, 2]
    position = np.clip((x + 0.5 - low) / (high - low) * columns + 0.5, 0, columns + 1)
    before = np.minimum(position.astype(np.int64), columns)
    share, cells = (position - before).astype(np.float32)[:, None], cells.reshape(-1, rows + 2)
    before += item * (columns + 2)
    return cells[before] * (1 - share) + cells[before + 1] * share


def _crossings(profiles, top, bottom, threshold):
    """Where the columns reach and leave the threshold, by turns.

    Returns:
        Indices into the K columns, rising, and the image rows of the crossings, real numbers (0 is the first row's centre).
    """
    m = profiles.shape[1] - 2
    inside = profiles >= threshold
    column, cell = np.divmod(np.flatnonzero(inside[:, 1:] != inside[:, :-1]), m + 1)
    near, far = profiles[column, cell].astype(np.float64), profiles[column, cell + 1]
    share = (cell - 0.5 + (threshold - near) / (far - near)) / m  # of the box's height
    return column, share * (bottom - top)[column] + top[column] - 0.5


def _counts(starts, stops, pixels):
    """Lengths of the runs outside and inside by turns, the first one outside."""
    apart = starts[1:] > stops[:-1]  # a run that reaches the bottom continues at the top of the next column
    gaps = np.stack([stops[:-1][apart], starts[1:][apart]], 1)
    bounds = np.concatenate([[0], starts[:1], gaps.ravel(), stops[-1:], [pixels]])
    counts = bounds[1:] - bounds[:-1]
    return counts if counts[-1] else counts[:-1]  # COCO writes no empty run behind the last pixel
