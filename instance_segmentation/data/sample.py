"""Make a small, photo-like COCO data set out of nothing but a seed, so that a first try needs no download.

Four kinds of objects lie on textured ground, lit from one side, and hide one another: smooth berries, five-armed
starfish, angular stones, washers with a hole. Colour says little about the class; shape and shading do.
"""

from pathlib import Path

import cv2
import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.coco.masks import mask_area, mask_box
from instance_segmentation.coco.outlines import mask_to_polygons

CLASSES = ("berry", "starfish", "stone", "washer")
_SIDES = (0.15, 0.45)  # diameter of an object as a share of the image's shorter side
_COLOURS_BGR = np.array(
    [(60, 50, 190), (120, 50, 110), (150, 90, 50), (60, 130, 80), (50, 150, 190), (150, 150, 160), (70, 90, 130),
     (190, 170, 140)], np.float32
)


def write_sample_dataset(folder, *, train=60, val=20, size_hw=(320, 320), seed=0):
    """Write ``train.json``, ``val.json`` and the images in ``train/`` and ``val/``.

    Masks are of the visible part only, so a hidden object may fall into several parts. Polygons for most, RLE where
    there is a hole and for a few others; about one image in six has a crowd (a heap of tiny berries as one RLE).

    Args:
        folder: Made when missing; files of the same name are replaced.
        train: Number of training images.
        val: Number of validation images.
        size_hw: (height, width) of the images, px.
        seed: The same seed writes the same json and the same pixels.

    Returns:
        Path of the folder.
    """
    folder = Path(folder)
    for split, (name, count) in enumerate((("train", train), ("val", val))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            picture_bgr, objects = draw_scene(np.random.default_rng([seed, split, number]), size_hw)
            file_name = f"{name}_{number:03}.jpg"
            cv2.imwrite(str(folder / name / file_name), picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
            images.append({"id": number, "file_name": file_name, "height": size_hw[0], "width": size_hw[1]})
            for entry in objects:
                annotations.append({"id": len(annotations) + 1, "image_id": number, **entry})
        categories = [{"id": number, "name": kind} for number, kind in enumerate(CLASSES, 1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(content))
    return folder


def draw_scene(rng, size_hw):
    """Return one picture (H, W, 3) uint8 BGR and its COCO annotations, without "id" and "image_id"."""
    picture = _ground(rng, size_hw)
    light = rng.uniform(0, 2 * np.pi)
    owner = np.zeros(size_hw, np.int32)  # 0 is ground, k the k-th thing laid down
    things = []
    if rng.random() < 1 / 6:
        things.append(_lay_crowd(rng, picture, owner, light))
    for _ in range(int(rng.integers(3, 8))):
        kind = int(rng.integers(len(CLASSES)))
        if _lay(rng, picture, owner, light, kind, len(things) + 1, things):
            things.append((kind, 0))
    objects = []
    for number, (kind, crowd) in enumerate(things, 1):
        entry = _annotate(rng, owner == number, kind, crowd)
        if entry:
            objects.append(entry)
    return _photograph(rng, picture), objects


def _lay(rng, picture, owner, light, kind, number, things):
    """Draw an object where it leaves enough of every other one visible; return whether there was such a place."""
    side = min(owner.shape)
    for _ in range(12):
        radius = 0.5 * side * _SIDES[0] * (_SIDES[1] / _SIDES[0]) ** rng.random()
        centre = rng.uniform(0.6 * radius, np.array(owner.shape[::-1]) - 0.6 * radius)
        window, alpha, shade = _thing(rng, owner.shape, kind, centre, radius, light)
        covered = np.bincount(owner[window][alpha > 0.5], minlength=number)
        before = np.bincount(owner.ravel(), minlength=number)
        if all(covered[k] <= 0.45 * before[k] for k in range(1, number)):
            _blend(picture, window, alpha, shade, light, radius)
            owner[window][alpha > 0.5] = number
            return True
    return False


def _lay_crowd(rng, picture, owner, light):
    """Draw a heap of tiny berries as thing number 1; return its (kind, crowd)."""
    side = min(owner.shape)
    middle = rng.uniform(0.2 * side, np.array(owner.shape[::-1]) - 0.2 * side)
    for _ in range(int(rng.integers(14, 26))):
        centre = middle + rng.normal(0, 0.06 * side, 2)
        window, alpha, shade = _thing(rng, owner.shape, 0, centre, side * rng.uniform(0.018, 0.028), light)
        _blend(picture, window, alpha, shade, light, side * 0.02)
        owner[window][alpha > 0.5] = 1
    return 0, 1


def _thing(rng, size_hw, kind, centre, radius, light):
    """Return the window of the picture, opacity (h, w) in [0, 1] and colours (h, w, 3) of one object."""
    low = np.clip((centre - radius - 2).astype(int), 0, None)
    high = np.clip((centre + radius + 3).astype(int), 0, size_hw[::-1])
    window = slice(low[1], high[1]), slice(low[0], high[0])
    y, x = np.mgrid[window].astype(np.float32) + 0.5
    x, y = (x - centre[0]) / radius, (y - centre[1]) / radius
    colour = _COLOURS_BGR[rng.integers(len(_COLOURS_BGR))] * rng.uniform(0.75, 1.25)
    distance, shade = _SHAPES[kind](rng, x, y, light)
    alpha = np.clip(0.5 - distance * radius, 0, 1)
    return window, alpha, shade[..., None] * colour + _shine(kind, x, y, light)[..., None]


def _turned(rng, x, y):
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _berry(rng, x, y, light):
    u, v = _turned(rng, x, y)
    r = np.hypot(u, v / rng.uniform(0.72, 0.95))
    height = np.sqrt(np.clip(1 - r * r, 0, 1))
    return (r - 1) * 0.8, 0.35 + 0.55 * height + 0.35 * (x * np.cos(light) + y * np.sin(light))


def _starfish(rng, x, y, light):
    u, v = _turned(rng, x, y)
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    arms = np.cos(5 * angle)
    edge = 0.68 + 0.27 * arms + 0.03 * np.cos(35 * angle)
    ridge = np.exp(-(((1 - arms) * r / 0.05) ** 2))
    return (r - edge) * 0.6, 0.75 + 0.2 * arms * r + 0.35 * ridge + 0.1 * (x * np.cos(light) + y * np.sin(light))


def _stone(rng, x, y, light):
    corners = np.sort(rng.uniform(-0.25, 0.25, 7) + np.arange(7)) * 2 * np.pi / 7
    reach = rng.uniform(0.68, 0.95, 7)
    sides = np.stack([x * np.cos(a) + y * np.sin(a) - d for a, d in zip(corners, reach, strict=True)])
    facet = np.cos(corners - light)[sides.argmax(0)]
    flat = (sides.max(0) < -0.35).astype(np.float32)
    grain = cv2.GaussianBlur(rng.normal(0, 1, x.shape).astype(np.float32), (0, 0), 1.2) * 0.25
    return np.maximum(sides.max(0), np.hypot(x, y) - 1), 0.7 + 0.3 * facet * (1 - flat) + 0.15 * flat + grain


def _washer(rng, x, y, light):
    u, v = _turned(rng, x, y)
    v = v / rng.uniform(0.8, 1)
    r, angle = np.hypot(u, v), np.arctan2(y, x)
    bevel = 1 - np.abs((r - 0.7) / 0.3) ** 4
    return np.abs(r - 0.7) - 0.28, 0.55 + 0.35 * np.cos(2 * (angle - light)) + 0.35 * np.clip(bevel, 0, 1)


def _shine(kind, x, y, light):
    """Return the highlight that only the wet berry has."""
    if CLASSES[kind] != "berry":
        return np.zeros_like(x)
    gap = (x - 0.4 * np.cos(light)) ** 2 + (y - 0.4 * np.sin(light)) ** 2
    return 190 * np.exp(-gap / 0.025)


_SHAPES = (_berry, _starfish, _stone, _washer)


def _blend(picture, window, alpha, shade, light, radius):
    """Lay an object on the picture, in place (the caller's own canvas), with the shadow it throws."""
    shadow = np.zeros(picture.shape[:2], np.float32)
    shadow[window] = alpha
    shift = np.float32([[1, 0, -0.16 * radius * np.cos(light)], [0, 1, -0.16 * radius * np.sin(light)]])
    shadow = cv2.warpAffine(shadow, shift, shadow.shape[::-1])
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(1.0, 0.09 * radius))
    picture *= 1 - 0.5 * shadow[..., None]
    picture[window] = picture[window] * (1 - alpha[..., None]) + shade * alpha[..., None]


def _noise(rng, size_hw, coarsest):
    """Return multi-octave noise (H, W), mean about 0, spread about 1."""
    total = np.zeros(size_hw, np.float32)
    cells, weight = coarsest, 1.0
    while cells < min(size_hw):
        grid = rng.normal(0, 1, (cells + 1, cells + 1)).astype(np.float32)
        total += weight * cv2.resize(grid, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight * 0.62
    return total / total.std()


def _ground(rng, size_hw):
    """Return a lit, textured ground (H, W, 3) float32 in 0–255, BGR: soil, sand, cloth or wood."""
    colours = np.float32(
        [(70, 95, 125), (140, 170, 190), (110, 110, 110), (80, 110, 95), (60, 80, 110), (150, 140, 125)]
    )
    first, second = colours[rng.choice(len(colours), 2, replace=False)] * rng.uniform(0.8, 1.15)
    blend = 1 / (1 + np.exp(-1.5 * _noise(rng, size_hw, 2)))[..., None]
    ground = first * (1 - 0.5 * blend) + second * 0.5 * blend
    if rng.random() < 0.4:  # stripes of a weave or of wood, bent by noise
        y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(5, 16)
        phase = (x * np.cos(angle) + y * np.sin(angle)) / pitch + 0.8 * _noise(rng, size_hw, 3)
        ground *= 1 + 0.07 * np.sin(2 * np.pi * phase)[..., None]
    ground *= 1 + 0.09 * _noise(rng, size_hw, 12)[..., None]
    y, x = np.mgrid[-1 : 1 : size_hw[0] * 1j, -1 : 1 : size_hw[1] * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    return (ground * (1 + 0.2 * (x * np.cos(angle) + y * np.sin(angle)))[..., None]).astype(np.float32)


def _photograph(rng, picture):
    """Return the scene as a camera would give it: exposure, vignette, slight blur, sensor noise; uint8."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    picture = picture * rng.uniform(0.85, 1.15) * (1 - 0.14 * (x * x + y * y))[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 0.8))
    return np.clip(picture + rng.normal(0, rng.uniform(1, 4), picture.shape), 0, 255).astype(np.uint8)


def _annotate(rng, visible, kind, crowd):
    """Return the annotation of a visible mask (H, W) bool, or None when only crumbs of it are left."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(visible.astype(np.uint8), connectivity=4)
    large = [piece for piece in range(1, count) if stats[piece, cv2.CC_STAT_AREA] >= 12]
    mask = np.isin(pieces, large).astype(np.uint8)
    if not mask.any():
        return None
    if crowd or _has_hole(mask) or rng.random() < 0.06:
        rle = coco_mask.encode(np.asfortranarray(mask))
        segmentation = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}
    else:
        segmentation = [_drawn_by_hand(polygon) for polygon in mask_to_polygons(mask)]
    return {"category_id": kind + 1, "iscrowd": crowd, "bbox": mask_box(segmentation),
            "area": mask_area(segmentation, mask.shape), "segmentation": segmentation}


def _has_hole(mask):
    _, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return bool((hierarchy[0, :, 3] >= 0).any())


def _drawn_by_hand(polygon):
    """Return the polygon with as few points as a careful annotator sets, two decimals."""
    points = np.float32(polygon).reshape(-1, 1, 2)
    fewer = cv2.approxPolyDP(points, 0.6, True)
    return (fewer if len(fewer) >= 3 else points).astype(np.float64).round(2).ravel().tolist()
