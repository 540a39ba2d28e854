"""Draw predictions on images: masks with contours, boxes, names, scores; sizes follow the image's resolution."""

import colorsys

import cv2
import numpy as np
from pycocotools import mask as coco_mask


def class_colour(label):
    """A colour for a class index as (b, g, r); neighbouring classes differ by the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw(image_bgr, prediction, opacity=0.45):
    """Draw every detection of `prediction`.

    Args:
        image_bgr: (H, W, 3) uint8; not changed.
        prediction: A Prediction in this image's pixels.
        opacity: Of the masks, 0 to 1.

    Returns:
        A new (H, W, 3) uint8 image.
    """
    canvas = image_bgr.copy()
    unit = max(1, round(min(canvas.shape[:2]) / 400))  # line width in px
    order = np.argsort(prediction.scores, kind="stable")  # the surest on top
    for i in order:
        _mask(canvas, prediction.rles[i], class_colour(prediction.labels[i]), opacity, unit)
    for i in order:
        box = prediction.boxes[i].round().astype(int).tolist()
        text = f"{prediction.classes[prediction.labels[i]]} {prediction.scores[i]:.2f}"
        _box(canvas, box, text, class_colour(prediction.labels[i]), unit)
    return canvas


def _mask(canvas, rle, colour, opacity, unit):
    x, y, w, h = map(int, coco_mask.toBbox(rle))
    mask = coco_mask.decode(rle)[y:y + h, x:x + w]
    crop = canvas[y:y + h, x:x + w]
    crop[mask > 0] = (crop[mask > 0] * (1 - opacity) + np.array(colour) * opacity).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(crop, contours, -1, colour, unit, cv2.LINE_AA)


def _box(canvas, box, text, colour, unit):
    x1, y1, x2, y2 = box
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, unit, cv2.LINE_AA)
    scale = 0.4 * unit
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, unit)
    top = y1 - height - base - unit if y1 - height - base - unit >= 0 else y1
    left = max(0, min(x1, canvas.shape[1] - width - 2 * unit))
    cv2.rectangle(canvas, (left, top), (left + width + 2 * unit, top + height + base + unit), colour, -1)
    ink = (0, 0, 0) if sum(colour) > 300 else (255, 255, 255)  # legible on light and dark labels
    cv2.putText(canvas, text, (left + unit, top + height + unit), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, unit, cv2.LINE_AA)
