"""How large objects are at a network's input, and which template or tile shows them large enough."""

import math
from dataclasses import dataclass

import numpy as np

SMALLEST_PX = 32 * math.sqrt(0.3)
"""Side of the smallest object, px at the network's input, that the templates' region proposals learn from: their smallest anchor
is 32×32 (scale 8, stride 4), and a square below 17.5×17.5 inside it has IoU < 0.3, `min_pos_iou` of model_templates/_base_."""
TOLERATED = 0.2
"""Share of the objects that may be smaller; of COCO's, for which the templates were made, 17% are at 480×480 (206 photos)."""
SMALLEST_TILE_PX = 64


@dataclass(frozen=True)
class Suggestion:
    """What to train with.

    Attributes:
        template: Name of the smallest template that shows enough objects large enough, or else of the largest.
        tile_px: Side of the tiles it needs for that, None for whole images.
        too_small: Template name → share of the objects, 0 to 1, below `SMALLEST_PX` on whole images.
    """

    template: str
    tile_px: int | None
    too_small: dict


def object_sides(annotations):
    """Return sides and images' sizes of all objects but crowds.

    Args:
        annotations: `coco.Annotations`.

    Returns:
        (N,) square root of each box's area in image pixels, and (N, 2) height and width of its image.
    """
    sizes_hw = {image["id"]: (image["height"], image["width"]) for image in annotations.images}
    objects = [item for item in annotations.annotations if not item["iscrowd"]]
    boxes = np.reshape([item["bbox"] for item in objects], (-1, 4))
    return np.sqrt(boxes[:, 2] * boxes[:, 3]), np.reshape([sizes_hw[item["image_id"]] for item in objects], (-1, 2))


def suggest(sides, images_hw, templates):
    """Choose template and tile.

    Args:
        sides: (N,) px, as of `object_sides`; at least one.
        images_hw: (N, 2) px.
        templates: Templates, of which the images are stretched to `input_size` (height, width).

    Returns:
        A Suggestion.
    """
    templates = sorted(templates, key=lambda template: math.prod(template.input_size))
    too_small = {template.name: float(np.mean(at_input(sides, images_hw, template.input_size) < SMALLEST_PX))
                 for template in templates}
    for template in templates:
        if too_small[template.name] <= TOLERATED:
            return Suggestion(template.name, None, too_small)
    return Suggestion(templates[-1].name, _tile(sides, templates[-1].input_size), too_small)


def at_input(sides, images_hw, input_hw):
    """Return (N,) sides in pixels of an input of that height and width, to which the images are stretched."""
    return sides * np.sqrt(math.prod(input_hw) / np.prod(images_hw, axis=1))


def _tile(sides, input_hw):
    """The largest tile, a multiple of 32 px, that shows enough objects large enough."""
    tile = np.quantile(sides, TOLERATED) * math.sqrt(math.prod(input_hw)) / SMALLEST_PX
    return max(SMALLEST_TILE_PX, int(tile) // 32 * 32)
