"""Masks in Pascal VOC's form: SegmentationClass and SegmentationObject, as VOC, CVAT and labelme2voc write them."""

import numpy as np
from PIL import Image

from instance_segmentation.coco.images import UNREADABLE
from instance_segmentation.data.formats import NO_CLASS, SPLITS, LabelledImage, Shape, rle_of_piece
from instance_segmentation.data.formats.image_files import BROKEN, ImageFiles
from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import decode_text

NAMES = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
         "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
"""VOC's own classes in the order of its colours."""
BACKGROUND, RIM = (0, 0, 0), (224, 224, 192)
"""Colours of both pictures that mark no object; the second is the rim around each."""
NO_INSTANCES = "{n} region|regions of a class in an image that SegmentationObject lacks: where one object ends is unknown"
NO_CLASS_PICTURE = "{n} image|images of SegmentationObject that SegmentationClass lacks; export again"
ANOTHER_SIZE = "{n} mask|masks of another size than its|their image; export again"
UNKNOWN_COLOUR = "{n} object|objects in a colour that no class has; add it to labelmap.txt, a line name:red,green,blue::"


def find_voc(source):
    """The folder with SegmentationClass and SegmentationObject; None when there is none."""
    found = [path.parent for pattern in ("", "*/", "*/*/") for path in sorted(source.glob(f"{pattern}SegmentationObject"))]
    return next((path for path in found if (path / "SegmentationClass").is_dir()), None) if source.is_dir() else None


def read_voc(source, data):
    """Read the instance masks of a VOC folder; ImageSets, labelmap.txt and class_names.txt are optional.

    Args:
        source: A folder, which has the two folders somewhere below it.
        data: LabelledData to fill; classes that show no object are left out of VOC's own twenty.

    Raises:
        DatasetError: labelmap.txt cannot be read.
    """
    folder = find_voc(source)
    colours, declared = _colours(folder)
    images, splits = ImageFiles(source, data.findings), _splits(folder)
    pictures = sorted({path.stem: path for kind in ("SegmentationClass", "SegmentationObject")
                       for path in (folder / kind).glob("*.png")}.items())
    used = set()
    for stem, _ in data.each(pictures):
        if splits and stem not in splits:
            continue
        path = images.find(f"JPEGImages/{stem}.jpg")
        size = path and images.size(path)
        if size:
            shapes = _shapes(folder, stem, size[::-1], colours, data)
            used |= {shape.name for shape in shapes}
            data.add(LabelledImage(path, *size, shapes), splits.get(stem, "all"))
    data.classes = [name for name in dict.fromkeys(colours.values()) if name not in NO_CLASS and (declared or name in used)]


def _colours(folder):
    """(Colour → class name, whether the folder itself says so)."""
    file = folder / "labelmap.txt"
    if file.is_file():
        colours = {}
        for number, line in enumerate(decode_text(file.read_bytes()).splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    name, colour = line.split(":")[:2]
                    colours[tuple(int(value) for value in colour.split(","))] = name.strip()
                except ValueError as error:
                    raise DatasetError(f"{file}:{number}: got '{line:.60}', expected name:red,green,blue::") from error
        return colours, True
    names = next((path for path in (folder / "class_names.txt", folder / "labels.txt") if path.is_file()), None)
    if names is None:
        return dict(zip(map(tuple, colormap()), NAMES, strict=False)), False
    lines = [line.strip() for line in decode_text(names.read_bytes()).splitlines() if line.strip()]
    lines = [line for line in lines if line != "__ignore__"]  # labelme gives it the number -1
    return dict(zip(map(tuple, colormap()), lines, strict=False)), True


def colormap():
    """VOC's 256 colours, (256, 3) uint8: the bits of a number, dealt to red, green and blue from the highest down."""
    numbers, colours = np.arange(256), np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel)) & 1).astype(np.uint8) << (7 - bit)
    return colours


def _splits(folder):
    """Name of an image → its split, as ImageSets says; empty when it says nothing."""
    splits = {}
    for file in sorted((folder / "ImageSets").glob("*/*.txt")) if (folder / "ImageSets").is_dir() else ():
        if file.stem in SPLITS:
            for line in decode_text(file.read_bytes()).split():
                splits.setdefault(line, SPLITS[file.stem])
    return splits


def _shapes(folder, stem, size_hw, colours, data):
    """One Shape for each colour of SegmentationObject."""
    classes = _picture(folder / "SegmentationClass" / f"{stem}.png", size_hw, data)
    objects = _picture(folder / "SegmentationObject" / f"{stem}.png", size_hw, data)
    if objects is None:
        if classes is not None:
            data.left_out[NO_INSTANCES] += sum(colours.get(colour) not in (None, *NO_CLASS) for colour in classes[1].values())
        return []
    if classes is None:
        data.findings.problem(NO_CLASS_PICTURE, stem)
        return []
    shapes = []
    for code, colour in objects[1].items():
        if colour in (BACKGROUND, RIM):
            continue
        mask = objects[0] == code
        inside = np.bincount(classes[0][mask])
        name = colours.get(classes[1].get(int(inside.argmax())))
        if name is None:
            data.findings.problem(UNKNOWN_COLOUR, f"{stem}.png, {classes[1].get(int(inside.argmax()))}")
        elif name not in NO_CLASS:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            piece = mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
            shapes.append(Shape(name, rle_of_piece(piece, int(columns[0]), int(rows[0]), size_hw)))
    return shapes


def _picture(path, size_hw, data):
    """A label picture as (codes (H, W), code → colour); None when there is none, or a note says why."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            if picture.size[::-1] != tuple(size_hw):
                data.findings.problem(ANOTHER_SIZE, f"{path.name} is {picture.size[0]}×{picture.size[1]}")
                return None
            return _codes(picture)
    except UNREADABLE as error:
        data.findings.problem(BROKEN, f"{path.name}: {str(error).splitlines()[0]:.80}")
        return None


def _codes(picture):
    """Small whole numbers for the colours of a picture, whether it has a palette or not."""
    if picture.mode == "P":
        codes = np.asarray(picture)
        palette = picture.getpalette()
        present = np.flatnonzero(np.bincount(codes.ravel(), minlength=1))
        return codes, {int(code): tuple(palette[3 * code:3 * code + 3]) for code in present}
    if picture.mode in ("L", "I;16", "I"):  # numbers of classes and of objects
        codes = np.asarray(picture).astype(np.int64)
        if codes.max() > 255:
            _, codes = np.unique(codes, return_inverse=True)
        table = colormap()
        return codes.reshape(picture.size[::-1]), {int(code): tuple(map(int, table[code])) for code in np.unique(codes)
                                                   if code < 256}
    pixels = np.asarray(picture.convert("RGBA")).view(np.uint32)[..., 0]
    present = np.unique(pixels)
    codes = np.searchsorted(present, pixels) if len(present) > 256 else _numbered(pixels, present)
    return codes, dict(enumerate(map(tuple, present[:, None].view(np.uint8)[:, :3].tolist())))


def _numbered(pixels, present):
    """The places of few values, by comparing: several times as fast as searching for each pixel."""
    codes = np.zeros(pixels.shape, np.uint8)
    for place, value in enumerate(present[1:], 1):
        codes[pixels == value] = place
    return codes
