"""Bring one raw annotation into the normal form, by stated rules."""

import sys

from instance_segmentation.coco import masks
from instance_segmentation.coco.boxes import BoxComparison

MARGIN_PX = 1.0
"""A box may leave its image by this much without being clipped: annotation tools round, and every clipped box is a box
that pycocotools, reading the raw file, would see differently."""

CLIPPED = "{n} box|boxes reaching more than 1 px outside its|their image clipped"
OUTSIDE = "{n} object|objects with a box wholly outside its|their image dropped"
FLAT_BOX = "{n} object|objects with a box of zero width or height dropped"
NO_BOX = "{n} missing box|boxes computed from the mask"
NO_AREA = "{n} missing or zero area|areas computed from the mask"
CROWD_BOX = "{n} crowd|crowds without a mask: the box is used as the mask"
IGNORE = '{n} object|objects with "ignore" set: the flag is not read (pycocotools does not either); use "iscrowd"'


class ObjectReader:
    """Normalises the annotations of one file.

    Args:
        images: {image id in the file: normalised image, or None when the image itself is a problem}.
        labels: {category id in the file: category id in the result, or None when its class is not asked for}.
        findings: Where problems and notes go.
    """

    def __init__(self, images, labels, findings):
        self.images = images
        self.labels = labels
        self.findings = findings
        self.boxes = BoxComparison(findings)
        self.left_out = 0
        self._seen = set()

    def read(self, raw):
        """Return the normalised annotation without its "id", or None when it is dropped or a problem."""
        if not isinstance(raw, dict):
            return self._problem('{n} entry|entries of "annotations" is|are not an object', f"{raw!r:.60}")
        try:
            annotation_id, image_id, category_id = raw["id"], raw["image_id"], raw["category_id"]
        except KeyError:
            missing = [key for key in ("id", "image_id", "category_id") if key not in raw]
            return self._problem(f"{{n}} annotation|annotations without {', '.join(missing)}", f"{raw!r:.80}")
        example = f"annotation {annotation_id}"
        try:
            if annotation_id in self._seen:
                self._problem("{n} annotation id|ids occurs|occur twice; give each annotation its own", example)
            self._seen.add(annotation_id)
            image, label = self._links(image_id, category_id, example)
        except TypeError:
            return self._problem("{n} annotation|annotations with an id that is not a number or text", example)
        if image is None or label is None:
            return None
        return self._object(raw, image, label, example)

    def _problem(self, sentence, example):
        self.findings.problem(sentence, example)

    def _links(self, image_id, category_id, example):
        if image_id not in self.images:
            self._problem('{n} annotation|annotations of an image id that is not in "images"',
                          f"{example}, image_id {image_id}")
            return None, None
        if category_id not in self.labels:
            self._problem('{n} annotation|annotations uses|use a category_id that is not in "categories"',
                          f"{example}, category_id {category_id}")
            return None, None
        label = self.labels[category_id]
        self.left_out += label is None
        return self.images[image_id], label

    def _object(self, raw, image, label, example):
        size_hw = image["height"], image["width"]
        where = f"{example} in {image['name']}"
        crowd = raw.get("iscrowd") or 0
        if crowd not in (0, 1):
            return self._problem('{n} annotation|annotations with an "iscrowd" other than 0 or 1', example)
        try:
            segmentation, notes = masks.normalise(raw.get("segmentation"), size_hw)
            box, area = self._numbers(raw)
        except masks.MaskError as error:
            return self._problem(str(error), where)
        for note in notes:
            self.findings.note(note, where)
        if raw.get("ignore"):
            self.findings.note(IGNORE, where)
        if segmentation is None:
            if not crowd or box is None:
                return self.findings.note(masks.NO_MASK, where)
            self.findings.note(CROWD_BOX, where)
            segmentation = [_corners(box)]
        if box is None:
            self.findings.note(NO_BOX, where)
            box = masks.mask_box(segmentation)
        given, box = box, self._placed(box, size_hw, where)
        if box is not None and not crowd:
            mask_box = masks.mask_box(segmentation)
            if self.boxes.differs(given, mask_box, size_hw, where):
                box = self._placed(mask_box, size_hw, where)
        if box is None:
            return None
        if area is None:
            self.findings.note(NO_AREA, where)
            # A sliver may cover no pixel centre; an area of 0 would make mmdet skip the object.
            area = masks.mask_area(segmentation, size_hw) or box[2] * box[3]
        return {"image_id": image["id"], "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd),
                "segmentation": segmentation}

    def _numbers(self, raw):
        """Return box and area as floats, None where they are missing."""
        box, area = raw.get("bbox"), raw.get("area")
        if box is not None:
            if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
                raise masks.MaskError("{n} bbox|bboxes that is|are not four finite numbers [x, y, width, height]")
            box = [float(value) for value in box]
        if area is not None and not _is_number(area):
            raise masks.MaskError("{n} area|areas that is|are not a finite number")
        return box, float(area) if area is not None and area > 0 else None

    def _placed(self, box, size_hw, where):
        """Return the box as it is, clipped to the image, or None when nothing of it lies inside."""
        x, y, width, height = box
        if width <= 0 or height <= 0:
            return self.findings.note(FLAT_BOX, where)
        left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, size_hw[1]), min(y + height, size_hw[0])
        if right <= left or bottom <= top:
            return self.findings.note(OUTSIDE, where)
        if max(left - x, top - y, x + width - right, y + height - bottom) <= MARGIN_PX:
            return box
        self.findings.note(CLIPPED, where)
        return [left, top, right - left, bottom - top]


def _is_number(value):
    # The comparison is False for NaN and infinity, and takes the integers without bound that JSON allows.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _corners(box):
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]
