"""Draw predictions on images: masks with contours, boxes, names, scores; sizes follow the image's resolution."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from instance_segmentation.inference.masks import mask_crop
from instance_segmentation.report import UNPRINTABLE

FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Look:
    """How detections are drawn.

    Attributes:
        boxes, scores: Whether boxes and scores are drawn; masks always are.
        names: Whether names are drawn, and the scores with them.
        opacity: Of the masks, 0 to 1.
        line_px: Width of lines in pixels; follows the image's resolution when None.
        text_scale: Size of the text, 0.4 being small; follows the image's resolution when None.
        text_px: Width of the text's strokes in pixels; follows its size when None.
    """

    boxes: bool = True
    scores: bool = True
    opacity: float = 0.45
    line_px: int | None = None
    text_scale: float | None = None
    names: bool = True
    text_px: int | None = None

    def for_size(self, size_hw):
        """Line width in pixels and text scale for an image of this height and width."""
        unit = max(1, min(size_hw) / 400)
        return self.line_px or round(unit), self.text_scale or 0.4 * unit


def colour_of(number):
    """A colour for a class or a track as (b, g, r); neighbouring numbers differ by the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw(image_bgr, prediction, look=None):
    """Draw every detection of `prediction`; colours tell tracks apart where there are some, else classes.

    Args:
        image_bgr: (H, W, 3) uint8; not changed.
        prediction: A Prediction in this image's pixels.
        look: A Look.

    Returns:
        A new (H, W, 3) uint8 image.
    """
    canvas, look = image_bgr.copy(), look or Look()
    line_px, text_scale = look.for_size(canvas.shape[:2])
    order = np.argsort(prediction.scores, kind="stable").tolist()  # the surest on top
    colours = [colour_of(number) for number in
               (prediction.labels if prediction.track_ids is None else prediction.track_ids).tolist()]
    for i in order:
        _mask(canvas, prediction.rles[i], colours[i], look.opacity, line_px)
    names = prediction.names()
    for i in order:
        box = _pixels(prediction.boxes[i], canvas.shape[:2])
        if box is None:
            continue
        if look.boxes:
            _outlined(lambda *pen, box=box: cv2.rectangle(canvas, box[:2], box[2:], *pen), colours[i], line_px)
        if look.names:
            text = f"{names[i]} {prediction.scores[i]:.2f}" if look.scores else names[i]
            _label(canvas, box, text, colours[i], (text_scale, look.text_px or _strokes(text_scale)), at_edge=look.boxes)
    return canvas


def _pixels(box, size_hw):
    """A box in whole pixels, its parts far outside cut off, where OpenCV's numbers end; None for one that is no number."""
    if not np.isfinite(box).all():
        return None
    return np.clip(box, -max(size_hw), 2 * max(size_hw)).round().astype(int).tolist()


def note(canvas, lines):
    """Write lines of text into the top left corner, in place."""
    scale = 0.5 * max(1, min(canvas.shape[:2]) / 400)
    for number, line in enumerate(lines):
        _plate(canvas, (0, round(number * 30 * scale)), line, (40, 40, 40), (scale, _strokes(scale)))


def _outlined(stroke, colour, line_px):
    """A line with a dark rim: legible on light and on dark ground."""
    stroke((0, 0, 0), line_px + 2, cv2.LINE_8)  # wide smooth lines take five times as long, and the rim's edge is not looked at
    stroke(colour, line_px, cv2.LINE_AA)


def _mask(canvas, rle, colour, opacity, line_px):
    mask, (x, y) = mask_crop(rle)
    if not mask.size:
        return
    crop = canvas[y:y + mask.shape[0], x:x + mask.shape[1]]
    levels = np.arange(256)[:, None] * (1 - opacity) + np.multiply(colour, opacity)
    cv2.copyTo(cv2.LUT(crop, levels.astype(np.uint8)[None]), mask, crop)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    _outlined(lambda *pen: cv2.drawContours(canvas, contours, -1, *pen, offset=(x, y)), colour, line_px)


def _label(canvas, box, text, colour, font, at_edge):
    """A name above the box, or in its middle where no box is drawn."""
    width, height = _plate_size(text, font)
    left, top = (box[0], box[1] - height) if at_edge else ((box[0] + box[2] - width) // 2, (box[1] + box[3] - height) // 2)
    top = top if top >= 0 else max(0, box[1])
    _plate(canvas, (max(0, min(left, canvas.shape[1] - width)), min(top, canvas.shape[0] - height)), text, colour, font)


def _drawable(text):
    """A text for OpenCV, which ends the process for half a character."""
    return UNPRINTABLE.sub("?", text)


def _plate_size(text, font):
    """Width and height in pixels of a text with its ground; `font` is the text's scale and the width of its strokes."""
    (width, height), base = cv2.getTextSize(_drawable(text), FONT, *font)
    return width + 4, height + base + 2


def _plate(canvas, left_top, text, colour, font):
    """Text on a ground of `colour`, in black or white, whichever is legible on it."""
    (left, top), (width, height) = left_top, _plate_size(text, font)
    cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, -1)
    blue, green, red = colour
    ink = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else (255, 255, 255)  # BT.601 luma
    text, base = _drawable(text), cv2.getTextSize(_drawable(text), FONT, *font)[1]
    cv2.putText(canvas, text, (left + 2, top + height - base), FONT, font[0], ink, font[1], cv2.LINE_AA)


def _strokes(scale):
    return max(1, round(scale / 0.5))
