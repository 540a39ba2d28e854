"""VOC with its masks, and CVAT's XML, read by datumaro."""

from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.data.formats import SPLITS, LabelledData, LabelledImage, Shape, corners
from instance_segmentation.errors import DatasetError, MissingExtraError

NO_OBJECTS = ("background", "ignored")  # of VOC's colours; the second is the rim around each object
UNDECLARED = "{n} shape|shapes of a class that the file does not declare"
NO_INSTANCES = "{n} region|regions of a class in an image that SegmentationObject lacks: where one object ends is unknown"
LEFT_OUT = '{n} shape|shapes of the type "{type}", which has no area or is turned'


def find_voc(source):
    """The folder with ImageSets and SegmentationObject; None when there is none."""
    return next((path.parent for path in sorted([*source.glob("SegmentationObject"), *source.glob("*/*/SegmentationObject"),
                                                 *source.glob("*/SegmentationObject")])), None)


def find_cvat(source):
    """The XML file of CVAT, "CVAT for images" or "for video"; None when there is none."""
    files = [source] if source.is_file() else sorted(source.glob("*.xml"))
    return next((path for path in files if b"<annotations>" in path.read_bytes()[:1000]), None)


def read_voc(source):
    """Read the instance masks of a VOC folder; raises as `_read`."""
    return _read(find_voc(source), "voc_segmentation")


def read_cvat(source):
    """Read polygons, masks and boxes of CVAT's XML file, whose images lie beside it or in images/; raises as `_read`."""
    return _read(find_cvat(source), "cvat")


def _read(path, name):
    """Read a data set by datumaro.

    Returns:
        LabelledData.

    Raises:
        DatasetError: datumaro cannot read it.
        MissingExtraError: datumaro is not installed.
    """
    try:
        import datumaro
        from datumaro.components.errors import DatumaroError
    except ImportError as error:
        raise MissingExtraError("import", "Reading VOC and CVAT annotations") from error
    try:
        dataset = datumaro.Dataset.import_from(str(path), name)
        names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
        data = LabelledData([label for label in names if label not in NO_OBJECTS])
        both = {"train", "val"} <= set(dataset.subsets())
        for item in dataset:
            if not (both and item.subset == "trainval"):  # VOC's name for the two together
                image = _image(item, names, data, instances_only=name == "voc_segmentation")
                data.splits.setdefault(SPLITS.get(item.subset, "all"), []).append(image)
    except (DatumaroError, OSError) as error:
        raise DatasetError(f"{path}: datumaro cannot read it as {name}: {error.__cause__ or error}") from error
    return data


def _image(item, names, data, instances_only):
    path = getattr(item.media, "path", None)
    if not path or not Path(path).is_file():
        raise DatasetError(f"the image of {item.id} was not found. Export again with images, or put them where that export has"
                           " them")
    height, width = item.media.size
    shapes, grouped = [], {}
    for annotation in item.annotations:
        kind, label = annotation.type.name, UNDECLARED if annotation.label is None else names[annotation.label]
        if annotation.attributes.get("outside") or label in NO_OBJECTS:
            continue  # a track that has left the picture
        segmentation = _segmentation(annotation, kind)
        if label == UNDECLARED or instances_only and not annotation.group:
            data.left_out[UNDECLARED if label == UNDECLARED else NO_INSTANCES] += 1
        elif segmentation is None:
            data.left_out[LEFT_OUT.replace("{type}", kind)] += 1
        elif kind == "polygon" and (label, annotation.group) in grouped:
            grouped[label, annotation.group].segmentation.extend(segmentation)
        else:
            shapes.append(Shape(label, segmentation, is_box=kind == "bbox"))
            if kind == "polygon" and annotation.group:
                grouped[label, annotation.group] = shapes[-1]
    return LabelledImage(Path(path), int(width), int(height), shapes)


def _segmentation(annotation, kind):
    """What an annotation covers, as COCO writes it; None for lines, points and turned boxes."""
    if kind == "polygon":
        return [[float(value) for value in annotation.points]]
    if kind == "bbox":
        left, top, width, height = annotation.get_bbox()
        return corners(left, top, left + width, top + height)
    if kind == "mask":
        mask = np.asfortranarray(annotation.image, np.uint8)
        return {"size": list(mask.shape), "counts": coco_mask.encode(mask)["counts"].decode("ascii")}
    return None
