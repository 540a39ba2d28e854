"""Cut images into overlapping tiles, so that a network with a small input sees small objects large enough."""

import math
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.findings import spelled
from instance_segmentation.coco.masks import mask_area, mask_box, to_rle
from instance_segmentation.errors import DatasetError

LEAST_VISIBLE = 1 / 3  # of an object's pixels; a piece with fewer is a crowd, neither an object nor background


def windows(size_hw, tile_px, overlap):
    """Place tiles evenly over an image.

    Args:
        size_hw: Height and width of the image in pixels.
        tile_px: Side of a tile; an image that is smaller in one direction is not cut in that one.
        overlap: Share of a tile that the next one covers at least, from 0 to below 1.

    Returns:
        List of (x, y, width, height) in pixels, row by row, all inside the image.

    Raises:
        DatasetError: The overlap is out of range.
    """
    if not 0 <= overlap < 1:
        raise DatasetError(f"--overlap: got {overlap}, expected a share of the tile from 0 to below 1, for example 0.25")
    (ys, height), (xs, width) = (_places(side, tile_px, overlap) for side in size_hw)
    return [(x, y, width, height) for y in ys for x in xs]


def _places(side, tile_px, overlap):
    """Where tiles begin along one side, and how long they are."""
    if side <= tile_px:
        return [0], side
    number = 1 + math.ceil((side - tile_px) / max(1, tile_px * (1 - overlap)))
    return np.linspace(0, side - tile_px, number).round().astype(int).tolist(), tile_px


def tiled(annotations, tile_px, overlap, keep_empty=True):
    """The same data, each image cut into tiles and each object into its pieces.

    Args:
        annotations: Annotations of whole images.
        tile_px, overlap: As of `windows`.
        keep_empty: Keep tiles without objects.

    Returns:
        Annotations whose images also have "tile", [x, y, width, height] in pixels of the whole image, "parent", that image's id,
        and "parent_hw", its height and width. The objects' coordinates are the tile's.
    """
    objects = {image["id"]: [] for image in annotations.images}
    for item in annotations.annotations:
        objects[item["image_id"]].append(item)
    images, pieces = [], []
    for image in annotations.images:
        size_hw = image["height"], image["width"]
        for x, y, width, height in windows(size_hw, tile_px, overlap):
            inside = [piece for item in objects[image["id"]] if (piece := _cut(item, size_hw, (x, y, width, height)))]
            if keep_empty or any(not piece["iscrowd"] for piece in inside):
                images.append(dict(image, id=len(images) + 1, width=width, height=height, tile=[x, y, width, height],
                                   parent=image["id"], parent_hw=size_hw))
                pieces += [dict(piece, image_id=len(images)) for piece in inside]
    note = f"{spelled(len(annotations.images), 'image')} cut into {spelled(len(images), 'tile')} of at most {tile_px} px"
    return replace(annotations, images=images, notes=(*annotations.notes, note),
                   annotations=[dict(piece, id=number) for number, piece in enumerate(pieces, 1)])


def _cut(item, size_hw, window):
    """What of an object lies in a window, in its coordinates; None when it is less than a pixel."""
    (x, y, width, height), (left, top, w, h) = window, item["bbox"]
    if left >= x + width or top >= y + height or left + w <= x or top + h <= y:
        return None
    segmentation = _moved(item["segmentation"], window)
    if x <= left and y <= top and left + w <= x + width and top + h <= y + height:
        return dict(item, bbox=[left - x, top - y, w, h], segmentation=segmentation)
    rle = to_rle(segmentation, (height, width))  # cuts off what is outside
    area, whole = float(coco_mask.area(rle)), mask_area(item["segmentation"], size_hw)
    if not area:
        return None
    segmentation = dict(size=[height, width], counts=rle["counts"].decode("ascii"))
    crowd = int(item["iscrowd"] or area < LEAST_VISIBLE * whole)
    return dict(item, bbox=mask_box(segmentation), area=area, iscrowd=crowd, segmentation=segmentation)


def _moved(segmentation, window):
    x, y, width, height = window
    if isinstance(segmentation, list):
        return [(np.reshape(part, (-1, 2)) - (x, y)).ravel().tolist() for part in segmentation]
    mask = coco_mask.decode(to_rle(segmentation, None))[y:y + height, x:x + width]
    return dict(size=[height, width], counts=coco_mask.encode(np.asfortranarray(mask))["counts"].decode("ascii"))
