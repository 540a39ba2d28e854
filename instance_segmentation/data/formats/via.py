"""VGG Image Annotator (VIA) 1 and 2: one JSON file, its project or its annotations, with regions in pixels."""

from collections import Counter

import numpy as np

from instance_segmentation.data.formats import LabelledImage, Shape, corners, ellipse, split_of
from instance_segmentation.data.formats.image_files import ImageFiles
from instance_segmentation.json_files import JsonError, parse_json

ATTRIBUTES = ("class", "label", "name", "type", "category", "object", "object_name")
"""Names of the attribute that says the class, the likeliest first."""
ANY = "object"
LEFT_OUT = '{n} region|regions of the shape "{type}", which has no area'
BAD_REGION = "{n} region|regions cannot be read; correct or delete it|them with VIA"
NO_CLASS_SAID = "{n} region|regions without a class; give it|them a value of the attribute"


def find_via(source):
    """VIA's files in a folder, or the file itself."""
    files = [source] if source.is_file() else sorted([*source.glob("*.json"), *source.glob("*/*.json")])
    return [file for file in files if file.suffix == ".json" and _entries(file) is not None]


def read_via(source, data):
    """Read polygons, circles, ellipses and boxes.

    The class is the value of the attribute that is called so (`ATTRIBUTES`), else of the one that most regions have; without
    any attribute all regions are of one class.

    Args:
        source: Folder, or VIA's .json file.
        data: LabelledData to fill.
    """
    folder = source if source.is_dir() else source.parent
    images = ImageFiles(folder, data.findings)
    entries = [(file, entry) for file in find_via(source) for entry in _entries(file)]
    attribute = _attribute([region for _, entry in entries for region in _regions(entry)])
    data.notes.append(f'the class is the attribute "{attribute}"' if attribute else
                      f'regions have no attribute, so all are of one class, "{ANY}"')
    names, only = set(), _only_class(entries, attribute)
    if only and any(not _class(region, attribute) for _, entry in entries for region in _regions(entry)):
        data.notes.append(f'regions without a class are taken as "{only}", the only one there is')
    for file, entry in data.each(entries):
        path = images.find(str(entry.get("filename") or ""))
        size = path and images.size(path)
        if not size:
            continue
        shapes = [shape for region in _regions(entry) if (shape := _shape(region, attribute, only, str(entry["filename"]), data))]
        names |= {shape.name for shape in shapes}
        split = split_of(path.relative_to(folder))
        data.add(LabelledImage(path, *size, shapes), split if split != "all" else split_of(file.relative_to(folder)))
    data.classes = sorted(names)


def _entries(file):
    """The entries of the images; None when the file is not VIA's."""
    content = file.read_bytes()
    if b'"regions"' not in content or b'"filename"' not in content:
        return None
    try:
        document = parse_json(content)
    except JsonError:
        return None
    if isinstance(document, dict):
        document = document.get("_via_img_metadata", document)
    entries = list(document.values()) if isinstance(document, dict) else []
    entries = [entry for entry in entries if isinstance(entry, dict) and "regions" in entry]
    return entries or None


def _regions(entry):
    """The regions of an image: a list in VIA 2, numbered in VIA 1."""
    regions = entry.get("regions")
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return [region for region in regions if isinstance(region, dict)] if isinstance(regions, list) else []


def _attribute(regions):
    """The attribute that says the class; None when there is none."""
    counts = Counter(key for region in regions if isinstance(region.get("region_attributes"), dict)
                     for key, value in region["region_attributes"].items() if _value(value))
    named = [key for word in ATTRIBUTES for key in counts if key.strip().lower() == word]
    return named[0] if named else max(counts, key=counts.get, default=None)


def _value(value):
    """A class name of an attribute's value: a text, or the box that is ticked."""
    if isinstance(value, dict):
        ticked = [key for key, state in value.items() if state]
        return ticked[0] if len(ticked) == 1 else ""
    return str(value).strip() if isinstance(value, (str, int)) else ""


def _class(region, attribute):
    """The class of a region; empty when it says none."""
    attributes = region.get("region_attributes")
    return _value((attributes if isinstance(attributes, dict) else {}).get(attribute, "")) if attribute else ANY


def _only_class(entries, attribute):
    """The one class that all regions have which have any; empty when there are several."""
    names = {_class(region, attribute) for _, entry in entries for region in _regions(entry)} - {""}
    return names.pop() if len(names) == 1 else ""


def _shape(region, attribute, only, where, data):
    """The Shape of a region; None when it is left out."""
    name = _class(region, attribute) or only
    if not name:
        return data.findings.problem(NO_CLASS_SAID.replace("attribute", f'attribute "{attribute}"'), where)
    try:
        outline = region["shape_attributes"]
        segmentation = _segmentation(outline)
        if segmentation is None:
            data.left_out[LEFT_OUT.replace("{type}", str(outline.get("name")))] += 1
            return None
        return Shape(name, segmentation, outline["name"] == "rect")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return data.findings.problem(BAD_REGION, f"{where}: {type(error).__name__}: {error!s:.80}")


def _segmentation(outline):
    """What a region covers, as COCO writes it; None for lines and points."""
    def numbers(*keys):
        values = [float(outline[key]) for key in keys]
        if not np.isfinite(values).all():
            raise ValueError("a coordinate is no number")
        return values

    kind = outline["name"]
    if kind == "polygon":
        points = np.array([outline["all_points_x"], outline["all_points_y"]], float).T
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is no number")
        return [points.ravel().tolist()]
    if kind == "rect":
        left, top, width, height = numbers("x", "y", "width", "height")
        return corners(left, top, left + width, top + height)
    if kind == "circle":
        x, y, radius = numbers("cx", "cy", "r")
        return ellipse((x, y), (radius, radius))
    if kind == "ellipse":
        x, y, rx, ry = numbers("cx", "cy", "rx", "ry")
        return ellipse((x, y), (rx, ry), np.rad2deg(float(outline.get("theta") or 0)))
    return None
