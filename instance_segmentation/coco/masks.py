"""Bring any COCO segmentation into the normal form: float polygons, or RLE with compressed counts.

Coordinates are image pixels, (0, 0) the outer corner of the first pixel, as pycocotools reads them.
"""

import math

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.nesting import has_nested_part

NO_MASK = "{n} object|objects without a usable mask (no segmentation, fewer than 3 points, or an empty RLE) dropped"
SHORT_PART = "{n} object|objects with a polygon part of fewer than 3 points: the part was left out"
FLAT = "{n} object|objects with a flat list of coordinates instead of a list of parts: read as one part"
FILLED = (
    "{n} object|objects with one polygon part inside another: COCO fills it, and so does this program;"
    " if a hole is meant, write the mask as RLE"
)

FAR_PX = 1e6
"""Bound of a coordinate, which pycocotools casts to int."""
OUTLINE_PX = 4_000_000
"""Bound of an outline's length: a mask of 36 megapixels of noise has less, and rasterising it takes 360 MB."""
_MERGED = 32  # RLEs joined at once: the time of one pass over all grows with the square of their number


class MaskError(ValueError):
    """The segmentation cannot be understood; the message is a sentence for `Findings.problem`."""


def normalise(raw, size_hw):
    """Return the segmentation in normal form and what had to be mended.

    Args:
        raw: Value of "segmentation" as parsed: list of polygons, RLE dict, or None. Never changed, but float polygons
            are reused, not copied (a train2017 has 37 million coordinates).
        size_hw: (height, width) of the image, px.

    Returns:
        (segmentation, notes): list of float polygons, RLE dict, or None when no mask is left; tuple of sentences.

    Raises:
        MaskError: Wrong types, odd number of coordinates, numbers that are not finite, or an RLE of another size.
    """
    if not raw:
        return None, ()
    if isinstance(raw, dict):
        return _normal_rle(raw, size_hw), ()
    if not isinstance(raw, list):
        raise MaskError("{n} segmentation|segmentations is|are neither polygons (a list) nor RLE (an object)")
    notes = ()
    if not isinstance(raw[0], list):
        raw, notes = [raw], (FLAT,)
    parts = [_normal_part(part) for part in raw]
    usable = [part for part in parts if len(part) >= 6]
    if not usable:
        return None, ()
    if len(usable) < len(parts):
        notes += (SHORT_PART,)
    _check_length(usable, size_hw)
    if len(usable) > 1 and has_nested_part(usable):
        notes += (FILLED,)
    return usable, notes


def _normal_part(part):
    if not isinstance(part, list):
        raise MaskError("{n} polygon|polygons is|are not a list of numbers [x1, y1, x2, y2, …]")
    kinds = set(map(type, part))
    # int would pass through mmdet as int64 and be truncated at every resize and crop: cast, always.
    if kinds != {float}:
        if not kinds <= {int, float}:
            raise MaskError("{n} polygon|polygons holds|hold something that is not a finite number")
        part = [float(value) if abs(value) < FAR_PX else math.inf for value in part]
    if len(part) % 2:
        raise MaskError("{n} polygon|polygons has|have an odd number of coordinates")
    if part and not (math.isfinite(sum(part)) and min(part) > -FAR_PX and max(part) < FAR_PX):
        raise MaskError("{n} polygon|polygons holds|hold something that is not a finite number below a million px")
    return part


def _check_length(parts, size_hw):
    """Refuse outlines that cost pycocotools far more than their image could need: about 90 bytes for every pixel of length."""
    longest = min(OUTLINE_PX, 4 * size_hw[0] * size_hw[1] + 100 * sum(size_hw))
    if sum(len(part) * (max(part) - min(part)) for part in parts) <= longest:  # no outline is longer than that
        return
    rings = [np.reshape(part, (-1, 2)) for part in parts]
    if sum(np.abs(np.roll(ring, -1, 0) - ring).max(1).sum() for ring in rings) > longest:
        raise MaskError("{n} polygon|polygons with an outline far too long for its|their image (more than a few times all of its"
                        " pixels); are its|their coordinates pixels of this image?")


def _normal_rle(rle, size_hw):
    height, width = size_hw
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or not isinstance(counts, (list, str)):
        raise MaskError('{n} RLE mask|masks lacks|lack "size" or "counts"')
    if size != [height, width]:
        raise MaskError("{n} RLE mask|masks has|have another size than its|their image (expected [height, width])")
    runs = run_lengths(counts) if isinstance(counts, str) else _checkedrun_lengths(counts)
    # Checked here because pycocotools writes past its buffer when the runs are longer than the image.
    if runs is None or (runs < 0).any() or runs.sum() != height * width:
        raise MaskError("{n} RLE mask|masks has|have counts that do not add up to the image's pixels")
    if not runs[1::2].any():
        return None
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)["counts"].decode("ascii")
    return {"size": [height, width], "counts": counts}


def _checkedrun_lengths(counts):
    usable = counts and set(map(type, counts)) == {int} and min(counts) >= 0 and max(counts) < 1 << 31
    return np.array(counts, dtype=np.int64) if usable else None


def run_lengths(counts):
    """Decode a compressed RLE string into run lengths; None when it is no such string.

    Format of pycocotools, common/maskApi.c::rleFrString: 5 bits and a continuation bit per character, from 48 up, the
    last group sign-extended; from the fourth run on, the difference to the run two before.
    """
    codes = np.frombuffer(counts.encode("utf-8"), np.uint8).astype(np.int64) - 48
    if not codes.size or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    places = np.arange(codes.size) - np.repeat(first, last - first + 1)
    if places.max() > 6:
        return None
    values = np.add.reduceat((codes & 31) << (5 * places), first)
    values -= np.where(codes[last] & 16, 1 << (5 * (places[last] + 1)), 0)
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs


def to_rle(segmentation, size_hw):
    """Return the one pycocotools RLE (counts as bytes) of a segmentation in normal form."""
    if isinstance(segmentation, dict):
        return {"size": segmentation["size"], "counts": segmentation["counts"].encode("ascii")}
    rles = coco_mask.frPyObjects(segmentation, *size_hw)
    while len(rles) > 1:
        rles = [coco_mask.merge(rles[start:start + _MERGED]) for start in range(0, len(rles), _MERGED)]
    return rles[0]


def mask_area(segmentation, size_hw):
    """Return the number of pixels the mask covers."""
    return float(coco_mask.area(to_rle(segmentation, size_hw)))


def mask_box(segmentation):
    """Return [x, y, width, height] around a segmentation in normal form, px."""
    if isinstance(segmentation, dict):
        return [float(value) for value in coco_mask.toBbox(to_rle(segmentation, None))]
    left, top = min(min(part[0::2]) for part in segmentation), min(min(part[1::2]) for part in segmentation)
    right, bottom = max(max(part[0::2]) for part in segmentation), max(max(part[1::2]) for part in segmentation)
    return [left, top, right - left, bottom - top]
