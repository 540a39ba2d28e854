"""CVAT's XML, "CVAT for images 1.1" and "CVAT for video 1.1", of tasks, projects and single jobs."""

import re
from xml.etree import ElementTree

import numpy as np

from instance_segmentation.data.formats import (
    NO_CLASS,
    LabelledImage,
    Shape,
    corners,
    ellipse,
    grouped,
    rle_of_piece,
    split_of,
    turned_box,
)
from instance_segmentation.data.formats.image_files import ImageFiles
from instance_segmentation.errors import DatasetError

AREAS = ("polygon", "mask", "box", "ellipse")
NO_AREA_TYPES = ("tag", "skeleton", "points", "polyline", "cuboid")
LEFT_OUT = '{n} shape|shapes of the type "{type}", which has no area'
BAD_SHAPE = "{n} shape|shapes cannot be read; correct or delete it|them in CVAT"
NO_LABEL = "{n} shape|shapes without a label; give it|them one in CVAT"
UNDECLARED = "{n} shape|shapes of a class that the file does not declare"
OUTSIDE = "{n} position|positions of tracks that have left the picture"


def find_cvat(source):
    """The XML file of CVAT, "CVAT for images" or "for video"; None when there is none."""
    files = [source] if source.is_file() else sorted([*source.glob("*.xml"), *source.glob("*/*.xml")])
    return next((path for path in files if path.suffix.lower() == ".xml" and b"<annotations>" in _head(path)), None)


def _head(path):
    with open(path, "rb") as file:
        return file.read(1000)


def read_cvat(source, data):
    """Read polygons, masks, boxes, ellipses and tracks; images may lie anywhere below the source's folder.

    Shapes of one label and one group are the parts of one object. Labels that only tags or the joints of skeletons use are no
    classes.

    Args:
        source: The folder, or the .xml in it.
        data: LabelledData to fill.

    Raises:
        DatasetError: The file is no XML.
    """
    file = find_cvat(source)
    root = _parse(file)
    folder = source if source.is_dir() else source.parent
    images = ImageFiles(folder, data.findings)
    entries = [_Entry.of_image(element) for element in root.iter("image")] + _frames(root, file)
    used = {element.get("label") for entry in entries for element, _ in entry.shapes if element.tag in AREAS}
    data.classes = _classes(root, used, data)
    for entry in data.each(entries):
        path = images.find(entry.name) if entry.name else _frame_file(images, entry, data)
        size = path and images.size(path)
        if not size:
            continue
        shapes = [pair for element, group in entry.shapes if (pair := _shape(element, group, size[::-1], data))]
        data.add(LabelledImage(path, *size, grouped(shapes, size[::-1]), entry.video), split_of(path.relative_to(folder)))


class _Entry:
    """An image of the file with its shapes, pairs of an element and its group; a frame of a video has no name."""

    def __init__(self, name, shapes, video=None, frame=None):
        self.name, self.shapes, self.video, self.frame = name, shapes, video, frame

    @classmethod
    def of_image(cls, element):
        """An `<image>`."""
        return cls(element.get("name") or "", [(child, child.get("group_id")) for child in element])


def _parse(file):
    if b"<!ENTITY" in (content := file.read_bytes()):
        raise DatasetError(f"{file}: holds entity declarations, which CVAT never writes; they are not read")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise DatasetError(f"{file}: is not valid XML: {error}. It may be cut off; export it again") from error


def _frames(root, file):
    """An entry for each frame of a video that a track shows something in."""
    frames = {}
    for track in root.iter("track"):
        for element in track.iterfind("./*[@frame]"):
            element.set("label", track.get("label") or "")
            frames.setdefault(element.get("frame"), []).append((element, track.get("group_id")))
    video = root.findtext(".//source") or str(file)
    return [_Entry(None, shapes, video, frame) for frame, shapes in frames.items()]


def _frame_file(images, entry, data):
    """The picture of a frame, which CVAT calls frame_000012.PNG."""
    if not (entry.frame or "").isdigit():  # an image without a name has none
        data.findings.problem(BAD_SHAPE, f"a track's frame {entry.frame!r:.40}")
        return None
    number = int(entry.frame)
    found = [path for path in images.all() if (digits := re.search(r"(\d+)$", path.stem)) and int(digits[1]) == number]
    return found[0] if len(found) == 1 else images.find(f"frame_{number:06d}.PNG")


def _classes(root, used, data):
    """Names of the declared labels that are classes, in their order, and what is said of the others."""
    names, dropped = [], []
    tags = {element.get("label") for element in root.iter() if element.tag in ("tag", "skeleton", "points", "polyline")}
    for label in root.iterfind("./meta/*/labels/label"):
        name = (label.findtext("name") or "").strip()
        is_joint = label.find("parent") is not None
        is_class = name in used or not (is_joint or label.findtext("type") in NO_AREA_TYPES or name in tags)
        if name in NO_CLASS or not is_class:
            dropped.append(name)
        elif name not in names:
            names.append(name)
    if not names and not dropped:  # some exports have no <meta>
        names = sorted(name for name in used if name and name not in NO_CLASS)
    if dropped:
        data.notes.append(f"no classes, because they mark no areas: {', '.join(dropped)}")
    return names


def _shape(element, group, size_hw, data):
    """(Shape, group or None) of an element; None when it is left out."""
    kind, label = element.tag, (element.get("label") or "").strip()
    if element.get("outside") == "1":
        data.left_out[OUTSIDE] += 1
    elif kind not in AREAS:
        data.left_out[LEFT_OUT.replace("{type}", kind)] += 1
    elif not label:
        data.findings.problem(NO_LABEL)
    elif label not in data.classes:
        data.left_out[UNDECLARED] += label not in NO_CLASS
    else:
        try:
            return Shape(label, _segmentation(kind, element, size_hw), kind == "box"), _group(group)
        except (KeyError, ValueError, OverflowError) as error:
            data.findings.problem(BAD_SHAPE, f"{kind} of {label}: {error}")
    return None


def _group(text):
    return None if text in (None, "", "0") else text


def _numbers(element, *keys):
    values = [float(element.attrib[key]) for key in keys]
    if not np.isfinite(values).all():
        raise ValueError(f"{', '.join(keys)} hold what is no number")
    return values


def _segmentation(kind, element, size_hw):
    """What an element covers, as COCO writes it."""
    turn = float(element.get("rotation") or 0)
    if kind == "polygon":
        return [[float(value) for point in element.attrib["points"].split(";") for value in point.split(",")]]
    if kind == "ellipse":
        x, y, rx, ry = _numbers(element, "cx", "cy", "rx", "ry")
        return ellipse((x, y), (rx, ry), turn)
    if kind == "mask":
        return _mask(element, size_hw)
    left, top, right, bottom = _numbers(element, "xtl", "ytl", "xbr", "ybr")
    if turn:
        return turned_box(((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top), turn)
    return corners(left, top, right, bottom)


def _mask(element, size_hw):
    """Runs of 0 and 1 by turns, row by row, of the rectangle around the mask."""
    left, top, width, height = (int(value) for value in _numbers(element, "left", "top", "width", "height"))
    runs = np.array(element.attrib["rle"].split(","), np.int64)
    if not (0 < width <= size_hw[1] and 0 < height <= size_hw[0]):
        raise ValueError("its rectangle is larger than the image")
    if (runs < 0).any() or runs.sum() > width * height:
        raise ValueError("its runs do not fill its rectangle")
    values = np.zeros(width * height, np.uint8)
    filled = np.repeat(np.arange(len(runs)) % 2, runs)
    values[:len(filled)] = filled
    return rle_of_piece(values.reshape(height, width), left, top, size_hw)
