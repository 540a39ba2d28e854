"""Make COCO files of the annotations of other tools."""

from pathlib import Path
from shlex import quote

import msgspec

from instance_segmentation.coco import masks
from instance_segmentation.coco.findings import counted, spelled
from instance_segmentation.data.formats.by_datumaro import find_cvat, find_voc, read_cvat, read_voc
from instance_segmentation.data.formats.labelme import find_labelme, read_labelme
from instance_segmentation.data.formats.yolo import find_yolo, read_yolo
from instance_segmentation.data.layouts import divided
from instance_segmentation.errors import DatasetError
from instance_segmentation.report import say
from instance_segmentation.writing import replacing

FORMATS = {
    "yolo": (find_yolo, read_yolo, "a data.yaml with names, and labels/*.txt"),
    "voc": (find_voc, read_voc, "the folders ImageSets, JPEGImages, SegmentationClass and SegmentationObject"),
    "cvat": (find_cvat, read_cvat, "an .xml file, exported as CVAT for images"),
    "labelme": (find_labelme, read_labelme, ".json files with shapes"),
}
BOXES = ("{n} box|boxes without a mask; draw the outlines, or let --boxes-as-masks take each box for the whole object")


def import_data(source, *, format=None, save_to=None, boxes_as_masks=False):
    """Write train.json and val.json (and test.json) in COCO's form; the images stay where they are.

    Without a split for validation a fifth of the images is set aside for it, always the same.

    Args:
        source: Folder of the annotations and images, or CVAT's .xml, or YOLO's data.yaml.
        format: One of `FORMATS`; recognised when None.
        save_to: Folder for the COCO files, the source's when None.
        boxes_as_masks: Take boxes without a mask for rectangular objects; they are left out otherwise.

    Returns:
        Split name → path of its file; the names of the images start from the source's folder.

    Raises:
        DatasetError: No format is recognised, something cannot be read, or the files exist already.
        MissingExtraError: VOC and CVAT need the extra `import`.
    """
    source = Path(source).resolve()
    format = _recognised(source, [format] if format else FORMATS)
    data = FORMATS[format][1](source)
    root = source if source.is_dir() else source.parent
    splits = _with_validation(data.splits, source)
    targets = {name: Path(save_to or root) / f"{name}.json" for name in splits}
    for path in targets.values():
        if path.exists():
            raise DatasetError(f"{path} exists, and nothing is replaced. Name another folder with --save-to")
    say("Format", format)
    say("Classes", f"{', '.join(data.classes)} ({len(data.classes)})")
    contents = {name: _coco(images, data, root, boxes_as_masks) for name, images in splits.items()}
    for name, content in contents.items():
        path = targets[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(content))
        numbers = spelled(len(content["images"]), "image"), spelled(len(content["annotations"]), "object")
        say("Written", f"{path}: {', '.join(numbers)}")
    for sentence, count in data.left_out.items():
        say("Left out", counted(sentence, count))
    say("Next", "instseg check-data " + " ".join(
        f"--{name}-ann-files {quote(str(targets[name]))} --{name}-data-roots {quote(str(root))}"
        for name in ("train", "val") if name in targets))
    return targets


def _recognised(source, names):
    """The first of the formats by these names that the source has."""
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    for name in names:
        if FORMATS[name][0](source):
            return name
    listed = "\n".join(f"  {name}: {FORMATS[name][2]}" for name in names)
    raise DatasetError(f"{source}: its format is not recognised. Expected one of:\n{listed}\n"
                       "COCO needs no import: instseg check-data")


def _with_validation(splits, source):
    if not any(splits.values()):
        raise DatasetError(f"{source}: it has no image")
    if "val" in splits:
        return splits
    rest = next(name for name in ("train", "all", "test") if name in splits)
    train, val = divided(sorted(splits[rest], key=lambda image: image.path), source)
    others = {"test": splits["test"]} if "test" in splits and rest != "test" else {}
    return {"train": train, "val": val, **others}


def _coco(images, data, root, boxes_as_masks):
    """The COCO document of one split; counts in `data.left_out` what is not in it."""
    numbers = {name: place for place, name in enumerate(data.classes, 1)}
    entries, annotations = [], []
    for image_id, image in enumerate(images, 1):
        name = image.path.relative_to(root) if image.path.is_relative_to(root) else image.path
        entries.append(dict(id=image_id, file_name=name.as_posix(), width=image.width, height=image.height))
        for shape in image.shapes:
            if shape.is_box and not boxes_as_masks:
                data.left_out[BOXES] += 1
            elif entry := _object(shape, image):
                annotations.append(dict(entry, id=len(annotations) + 1, image_id=image_id, category_id=numbers[shape.name]))
            else:
                data.left_out["{n} object|objects without a usable mask"] += 1
    categories = [dict(id=number, name=name) for name, number in numbers.items()]
    return dict(categories=categories, images=entries, annotations=annotations)


def _object(shape, image):
    size_hw = image.height, image.width
    try:
        segmentation, _ = masks.normalise(shape.segmentation, size_hw)
    except masks.MaskError as error:
        raise DatasetError(f"{image.path}: {counted(str(error), 1)}, of the class {shape.name}") from error
    if segmentation is None:
        return None
    return dict(iscrowd=0, bbox=masks.mask_box(segmentation), area=masks.mask_area(segmentation, size_hw),
                segmentation=segmentation)
