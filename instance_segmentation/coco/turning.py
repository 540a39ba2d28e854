"""Turn objects as EXIF's orientation tag turns their image."""

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import mask_box, to_rle

# EXIF 2.32, tag 0x0112; (x, y) of a picture of w×h px that lies on its side → its place in the h×w px of the upright one
POINTS = {
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}
PIXELS = {
    5: np.transpose,
    6: lambda mask: np.rot90(mask, -1),
    7: lambda mask: np.rot90(mask, 2).T,
    8: np.rot90,
}


def turn_objects(images, annotations):
    """Change, in place, images and their objects from the frame of the stored pixels to that of the upright picture.

    Args:
        images: Dicts with "id", "width", "height" (of the stored pixels) and "fault", the EXIF orientation, 5 to 8.
        annotations: Dicts in normal form; those of other images stay as they are.
    """
    by_id = {image["id"]: image for image in images}
    for annotation in annotations:
        if image := by_id.get(annotation["image_id"]):
            segmentation = _turned(annotation["segmentation"], image["fault"], image["width"], image["height"])
            x, y, width, height = annotation["bbox"]
            box = mask_box(_turned([[x, y, x + width, y + height]], image["fault"], image["width"], image["height"]))
            annotation.update(segmentation=segmentation, bbox=box)
    for image in images:
        image.update(width=image["height"], height=image["width"])


def _turned(segmentation, orientation, width, height):
    if isinstance(segmentation, list):
        turn = POINTS[orientation]
        return [np.stack(turn(*np.reshape(part, (-1, 2)).T, width, height), 1).ravel().tolist() for part in segmentation]
    mask = PIXELS[orientation](coco_mask.decode(to_rle(segmentation, None)))
    return {"size": [width, height], "counts": coco_mask.encode(np.asfortranarray(mask))["counts"].decode("ascii")}
