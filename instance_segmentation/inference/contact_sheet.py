"""Put many pictures onto one, to look at a result at a glance."""

import math
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.errors import MediaError


def write_contact_sheet(pictures, path, *, columns=4, tile=320, gap=6):
    """Write a grid of pictures, each shrunk or enlarged to fit its tile, on white.

    Args:
        pictures: Image files, in reading order.
        path: File to write; the suffix decides the format.
        columns: Tiles per row.
        tile: Height and width of a tile, px.
        gap: Between tiles, px.

    Returns:
        Path of the sheet.

    Raises:
        MediaError: There is no picture, or one cannot be read, or the sheet cannot be written.
    """
    pictures, path = list(pictures), Path(path)
    if not pictures:
        raise MediaError(f"{path.name}: there are no pictures to put on it")
    columns = min(columns, len(pictures))
    rows, step = math.ceil(len(pictures) / columns), tile + gap
    sheet = np.full((rows * step + gap, columns * step + gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        image = _fitted(picture, tile)
        height, width = image.shape[:2]
        top = gap + index // columns * step + (tile - height) // 2
        left = gap + index % columns * step + (tile - width) // 2
        sheet[top:top + height, left:left + width] = image
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), sheet):
        raise MediaError(f"{path}: the picture cannot be written")
    return path


def _fitted(path, tile):
    image = cv2.imread(str(path))
    if image is None:
        raise MediaError(f"{path}: not a readable image")
    scale = tile / max(image.shape[:2])
    size_wh = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
