"""Boxes that are not the boxes of their masks: found by comparing, and their cause by trying what people do wrong.

Training learns boxes from "bbox" and masks from "segmentation". Where the two have nothing to do with each other it learns both
wrongly, without a word.
"""

from collections import Counter

SAME = 0.5
"""Lowest IoU of a box and its mask's box that is taken for a loosely drawn box."""
EXPLAINED = 0.8
"""Lowest IoU with its mask's box that a box must have once a cause is undone."""
WHOLE_SET = 1 / 3
"""Share of objects from which the data as a whole is wrong, and training refuses it."""
FEWEST = 3
"""Objects below which a share says nothing."""
WRONG = ("{n} of {all} boxes is|are not the box of its|their mask{cause}; write \"bbox\" as [x, y, width, height] of the mask, in"
         " px, or let instseg check-data --fix do it")
TAKEN = "{n} box|boxes that has|have nothing to do with its|their mask{cause}: the mask's own box is taken"
UNIT = ("{n} object|objects with coordinates from 0 to 1; COCO counts in px: multiply x by the image's width and y by its height")


class BoxComparison:
    """Compares the boxes of one file with their masks.

    Args:
        findings: Where problems and notes go.
    """

    def __init__(self, findings):
        self.findings = findings
        self.compared, self.causes, self.example, self.unit = 0, Counter(), "", Counter()

    def differs(self, box, mask_box, size_hw, where):
        """Return whether a box and its mask have nothing to do with each other, and remember it.

        Args:
            box, mask_box: [x, y, width, height], px.
            size_hw: (height, width) of the image, px.
            where: The object, for messages.
        """
        self.compared += 1
        if _is_of_unit_size(box, size_hw) and _is_of_unit_size(mask_box, size_hw):
            self.unit[where] += 1
            return False
        if iou(box, mask_box) >= SAME:
            return False
        self.causes[cause_of(box, mask_box, size_hw)] += 1
        self.example = self.example or where
        return True

    def tell(self):
        """Note what was found, once all objects were compared."""
        if self.unit:
            self.findings.problem(UNIT, next(iter(self.unit)), len(self.unit))
        wrong = self.causes.total()
        if not wrong:
            return
        name, count = self.causes.most_common(1)[0]
        cause = f": {name}" if name and 2 * count >= wrong else ""
        if self.compared >= FEWEST and wrong >= WHOLE_SET * self.compared:
            sentence = WRONG.replace("{all}", f"{self.compared:,}").replace("{cause}", cause)
            self.findings.problem(sentence, self.example, wrong)
        else:
            self.findings.note(TAKEN.replace("{cause}", cause), self.example, wrong)


def _is_of_unit_size(box, size_hw):
    """Whether a box could only be meant in shares of the image."""
    x, y, width, height = box
    return min(size_hw) > 4 and min(x, y) >= -0.01 and max(x + width, y + height) <= 1.01


def iou(one, other):
    """Intersection over union of two boxes [x, y, width, height]."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    inside = wide * high
    return inside / (one[2] * one[3] + other[2] * other[3] - inside)


def cause_of(box, mask_box, size_hw):
    """Return what makes a box another than its mask's, in words; empty when nothing that is tried explains it."""
    for name, attempt in _attempts(box, mask_box, size_hw):
        if iou(*attempt) >= EXPLAINED:
            return name
    return ""


def _attempts(box, mask_box, size_hw):
    """Pairs of a cause and the two boxes with it undone, the likeliest cause first."""
    (a, b, c, d), (height, width) = box, size_hw
    left, top, wide, high = mask_box
    yield "they read as x1, y1, x2, y2", ([a, b, c - a, d - b], mask_box)
    yield "they read as centre x, centre y, width, height", ([a - c / 2, b - d / 2, c, d], mask_box)
    if max(map(abs, box)) <= 1.01:
        yield "boxes from 0 to 1, masks in px", ([a * width, b * height, c * width, d * height], mask_box)
        yield ("they read as YOLO's centre x, centre y, width, height from 0 to 1",
               ([(a - c / 2) * width, (b - d / 2) * height, c * width, d * height], mask_box))
    if _is_of_unit_size(mask_box, size_hw):
        yield "masks from 0 to 1, boxes in px", (box, [left * width, top * height, wide * width, high * height])
    yield "x and y are swapped in the one or the other", ([b, a, d, c], mask_box)
    if wide and high and c > 0 and d > 0:
        scale_x, scale_y = c / wide, d / high
        if abs(scale_x / scale_y - 1) < 0.2 and not 0.9 < scale_x < 1.1:
            yield ("the one or the other is of an image of another size",
                   (box, [left * scale_x, top * scale_y, wide * scale_x, high * scale_y]))
        if 0.9 < scale_x < 1.1 and 0.9 < scale_y < 1.1:
            yield "the one or the other is shifted", (box, [a, b, wide, high])
