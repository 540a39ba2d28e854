"""Augmentations that cut images or make one of several, and keep every mask a float polygon, cut or hidden where the image is.

mmdet's own lose masks: its Mosaic ignores them, CachedMosaic and every crop bend polygons at the border or fill their holes, and
CopyPaste needs a bitmap per object. Those here run in mmdet's MultiImageMixDataset, which gives them copies that they may change,
and draw from NumPy's generator alone, so SeededRepeatDataset makes them repeatable.
"""

import itertools

import numpy as np
import shapely
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import CopyPaste, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import PolygonMasks
from mmdet.structures.mask.structures import polygon_to_bitmap

from instance_segmentation.coco.outlines import mask_to_polygons

BORDER = 114  # grey where no image is, as in mmdet's Mosaic
VISIBLE = 0.1  # of an object's area: when no more is left to see, it is dropped


@TRANSFORMS.register_module()
class PolygonMosaic(BaseTransform):
    """Four images around a random point, cut at the border of the new image (Bochkovskiy et al. 2020, arXiv 2004.10934).

    Args:
        size_hw: Height and width in pixels of the network's input.
        zoom: Smallest and largest new image in multiples of `size_hw`; objects shrink by as much when it is resized.
    """

    def __init__(self, size_hw, zoom=(1.0, 2.0)):
        self.size_hw, self.zoom = size_hw, zoom

    def get_indexes(self, dataset):
        """Choose the three other images."""
        return np.random.randint(0, len(dataset), 3).tolist()

    def transform(self, results):
        """Put the image and three others into one."""
        size = np.multiply(self.size_hw, np.random.uniform(*self.zoom)).astype(int)
        centre_y, centre_x = (size * np.random.uniform(0.25, 0.75, 2)).astype(int)
        image, parts = np.full((*size, 3), BORDER, np.uint8), [results, *results["mix_results"]]
        for part, (below, right) in zip(parts, itertools.product((0, 1), (0, 1)), strict=True):
            height, width = part["img"].shape[:2]
            x, y = int(centre_x - (1 - right) * width), int(centre_y - (1 - below) * height)
            paste(image, part["img"], x, y)
            part["gt_bboxes"].translate_([x, y])
            part["gt_masks"] = [[polygon + np.resize([x, y], polygon.size) for polygon in polygons]
                                for polygons in part["gt_masks"]]
        return combined(parts, image, [inside(polygons, *size) for part in parts for polygons in part["gt_masks"]])


@TRANSFORMS.register_module()
class PolygonCrop(BaseTransform):
    """A part of the image at random; a side that is no longer than the part's stays whole.

    Args:
        crop_size: Width and height of the part in pixels.
    """

    def __init__(self, crop_size):
        self.crop_size = crop_size

    def transform(self, results):
        """Cut the image, and move boxes and polygons."""
        rest = np.maximum(0, np.subtract(results["img"].shape[1::-1], self.crop_size))
        x, y = (int(np.random.randint(0, most + 1)) for most in rest)
        image = results["img"][y:y + self.crop_size[1], x:x + self.crop_size[0]]
        results["gt_bboxes"].translate_([-x, -y])
        objects = [[polygon - np.resize([x, y], polygon.size) for polygon in polygons] for polygons in results["gt_masks"]]
        return combined([results], image, [cut(polygons, *image.shape[:2]) for polygons in objects])


@TRANSFORMS.register_module()
class PolygonCopyPaste(CopyPaste):
    """mmdet's CopyPaste on polygons (Ghiasi et al. 2021, arXiv 2012.07177): what pasted objects cover leaves the masks below."""

    def _copy_paste(self, results, source):
        """Paste all objects of `source`, stretched to the size of the image."""
        height, width = results["img"].shape[:2]
        source = Resize(scale=(width, height), keep_ratio=False)(source)
        cover = source["gt_masks"].to_ndarray().any(0)
        image = np.where(cover[..., None], source["img"], results["img"])
        return combined([results, source], image, [uncovered(polygons, cover) for polygons in results["gt_masks"]]
                        + [(polygons, None) for polygons in source["gt_masks"]])


def paste(image, part, x, y):
    """Paste `part` [h, w, 3] into `image` [H, W, 3], in place; its upper left corner (x, y) px may lie outside."""
    target = image[max(y, 0):max(y + part.shape[0], 0), max(x, 0):max(x + part.shape[1], 0)]
    target[:] = part[max(-y, 0):, max(-x, 0):][:target.shape[0], :target.shape[1]]


def inside(polygons, height, width):
    """What an image of that size shows of an object: (polygons, box). See `combined`.

    The polygons stay uncut: what of them lies outside is never rasterised, and holes are part of them.
    """
    whole = shapely.make_valid(shapely.multipolygons([shapely.Polygon(polygon.reshape(-1, 2)) for polygon in polygons]))
    seen = shapely.clip_by_rect(whole, 0, 0, width, height)
    if seen.area <= VISIBLE * whole.area:
        return None, None
    return polygons, None if seen.bounds == whole.bounds else seen.bounds


def cut(polygons, height, width):
    """As `inside`, but what lies outside is cut off: the image may be put into another."""
    polygons, box = inside(polygons, height, width)
    return traced(polygon_to_bitmap(polygons, height, width)) if box else (polygons, box)


def uncovered(polygons, cover):
    """What `cover` [H, W] bool leaves of an object: (polygons, box), traced anew from its pixels if any is covered."""
    whole = polygon_to_bitmap(polygons, *cover.shape)
    seen = whole & ~cover
    if seen.sum() == whole.sum():
        return polygons, None
    if seen.sum() <= VISIBLE * whole.sum():
        return None, None
    return traced(seen)


def traced(mask):
    """The outlines of a mask [H, W]: (polygons, box); no polygons when it is empty."""
    if not mask.any():
        return None, None
    polygons = [np.array(polygon) for polygon in mask_to_polygons(mask)]
    corners = np.concatenate(polygons).reshape(-1, 2)
    return polygons, (*corners.min(0), *corners.max(0))


def combined(parts, image, objects):
    """The sample made of several.

    Args:
        parts: Results of pipelines, boxes in the new image's pixels. The first keeps its other entries.
        image: The new image [H, W, 3].
        objects: (polygons, box x1, y1, x2, y2) px per object of all parts; no polygons: it is dropped, no box: it keeps its own.
    """
    boxes = parts[0]["gt_bboxes"].cat([part["gt_bboxes"] for part in parts])
    for index, (_, box) in enumerate(objects):
        if box:
            boxes.tensor[index] = boxes.tensor.new_tensor(box)
    kept = np.array([polygons is not None for polygons, _ in objects], bool)
    return {**parts[0], "img": image, "img_shape": image.shape[:2], "gt_bboxes": boxes[kept],
            "gt_masks": PolygonMasks([polygons for polygons, _ in objects if polygons is not None], *image.shape[:2]),
            **{key: np.concatenate([part[key] for part in parts])[kept] for key in ("gt_bboxes_labels", "gt_ignore_flags")},
            "img_path": ", ".join(dict.fromkeys(part["img_path"] for part in parts))}  # all are named when a step goes wrong
