"""Make COCO files of the annotations of other tools."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import msgspec

from instance_segmentation.coco import masks
from instance_segmentation.coco.findings import Findings, counted, spelled
from instance_segmentation.data.dividing import divided, groups_of
from instance_segmentation.data.formats import LabelledData
from instance_segmentation.data.formats.cvat import find_cvat, read_cvat
from instance_segmentation.data.formats.foreign import foreign_format
from instance_segmentation.data.formats.labelme import find_labelme, read_labelme
from instance_segmentation.data.formats.via import find_via, read_via
from instance_segmentation.data.formats.voc import find_voc, read_voc
from instance_segmentation.data.formats.yolo import find_yolo, read_yolo
from instance_segmentation.errors import DatasetError
from instance_segmentation.report import progress, say
from instance_segmentation.writing import replacing


@dataclass(frozen=True)
class Format:
    """How a format is recognised and read, and what it looks like, for messages."""

    find: Callable
    read: Callable
    looks: str


FORMATS = {
    "yolo": Format(find_yolo, read_yolo, "a data.yaml or obj.data with names, or classes.txt, and labels/*.txt"),
    "voc": Format(find_voc, read_voc, "the folders SegmentationClass and SegmentationObject, and the images"),
    "cvat": Format(find_cvat, read_cvat, 'an .xml file, exported as "CVAT for images" or "CVAT for video"'),
    "labelme": Format(find_labelme, read_labelme, ".json files with shapes"),
    "via": Format(find_via, read_via, "a .json file with regions, of VGG Image Annotator"),
}
BOXES = "{n} box|boxes without a mask; draw the outlines, or let --boxes-as-masks take each box for the whole object"
EMPTY = "{n} object|objects without a usable mask"
BAD_MASK = "{n} outline|outlines that cannot be used; correct or delete it|them"


def import_data(source, *, format=None, save_to=None, boxes_as_masks=False, skip_bad=False, group_by=None):
    """Write train.json and val.json (and test.json) in COCO's form; the images stay where they are.

    Without a split for validation a fifth of the images is set aside for it, always the same.

    Args:
        source: Folder of the annotations and images, or CVAT's .xml, YOLO's data.yaml, VIA's .json.
        format: One of `FORMATS`; recognised when None.
        save_to: Folder for the COCO files, the source's when None. Images that only the annotations hold are written there too.
        boxes_as_masks: Take boxes without a mask for rectangular objects; they are left out otherwise.
        skip_bad: Go on without what cannot be read; nothing is written otherwise.
        group_by: What keeps images in one split: "folder", a .csv file (name, group), or a regular expression for file names.
            Frames of one video stay together without it.

    Returns:
        Split name → path of its file; the names of the images start from the source's folder.

    Raises:
        DatasetError: No format is recognised, something cannot be read, nothing is left, or the files exist already.
    """
    source = Path(source).resolve()
    format = _recognised(source, [format] if format else FORMATS)
    root = source if source.is_dir() else source.parent
    target = Path(save_to or root)
    say("Format", format)
    with progress(f"reading {format}") as show:
        data = LabelledData(Findings(source), target / "images", show)
        FORMATS[format].read(source, data)
    splits = _with_validation(data, source, root, group_by)
    contents = {name: _coco(images, data, root, boxes_as_masks) for name, images in splits.items()}
    _check(data, contents, source, skip_bad)
    targets = {name: target / f"{name}.json" for name in splits}
    _write(contents, targets, data.embedded)
    _tell(data, contents, targets, root, skip_bad)
    return targets


def _recognised(source, names):
    """The first of the formats by these names that the source has."""
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    for name in names:
        if FORMATS[name].find(source):
            return name
    if known := foreign_format(source):
        raise DatasetError(f"{source}: this is {known}")
    listed = "\n".join(f"  {name}: {FORMATS[name].looks}" for name in names)
    raise DatasetError(f"{source}: its format is not recognised. Expected one of:\n{listed}\n"
                       "COCO needs no import: instseg check-data")


def _with_validation(data, source, root, group_by):
    """The splits, with one for validation where images can be spared for it."""
    splits = data.splits
    if "val" in splits or not any(splits.values()):
        return splits
    rest = next(name for name in ("train", "all", "test") if name in splits)
    images = sorted(splits[rest], key=lambda image: image.path)
    others = {"test": splits["test"]} if "test" in splits and rest != "test" else {}
    if len(images) == 1:
        data.notes.append("there is only one image, so there is no val.json; training needs one")
        return {"train": images, **others}
    groups = groups_of([_name(image, root) for image in images], group_by) if group_by else [image.video for image in images]
    train, val = divided(images, source, groups)
    return {"train": train, "val": val, **others}


def _name(image, root):
    return (image.path.relative_to(root) if image.path.is_relative_to(root) else image.path).as_posix()


def _coco(images, data, root, boxes_as_masks):
    """The COCO document of one split; what is not in it is counted in `data`."""
    numbers = {name: place for place, name in enumerate(data.classes, 1)}
    entries, annotations = [], []
    for image_id, image in enumerate(images, 1):
        entries.append(dict(id=image_id, file_name=_name(image, root), width=image.width, height=image.height))
        for shape in image.shapes:
            if shape.is_box and not boxes_as_masks:
                data.left_out[BOXES] += 1
            elif entry := _object(shape, image, data):
                annotations.append(dict(entry, id=len(annotations) + 1, image_id=image_id, category_id=numbers[shape.name]))
    categories = [dict(id=number, name=name) for name, number in numbers.items()]
    return dict(categories=categories, images=entries, annotations=annotations)


def _object(shape, image, data):
    """The COCO annotation of a shape; None, counted in `data`, when it has no usable mask."""
    size_hw = image.height, image.width
    try:
        segmentation, _ = masks.normalise(shape.segmentation, size_hw)
    except masks.MaskError as error:
        return data.findings.problem(BAD_MASK, f"{image.path.name}, {shape.name}: {counted(str(error), 1)}")
    area = segmentation and masks.mask_area(segmentation, size_hw)
    if not area:
        data.left_out[EMPTY] += 1
        return None
    return dict(iscrowd=0, bbox=masks.mask_box(segmentation), area=area, segmentation=segmentation)


def _check(data, contents, source, skip_bad):
    """Refuse what cannot be read, all of it at once, and an import of nothing."""
    problems = data.findings.problems
    if problems and not skip_bad:
        raise DatasetError("\n  ".join([f"{source}: {spelled(len(problems), 'problem')}, nothing was written.", *problems])
                           + "\nMend them, or go on without what cannot be read: --skip-bad")
    images, objects = (sum(len(content[kind]) for content in contents.values()) for kind in ("images", "annotations"))
    if objects:
        return
    reasons = [*problems, *(counted(sentence, count) for sentence, count in data.left_out.items() if count)]
    what = "no object in it has a mask" if images else "it has no image that can be used"
    raise DatasetError(f"{source}: {what}, nothing was written." + "".join(f"\n  {reason}" for reason in reasons))


def _write(contents, targets, embedded):
    """Write the COCO files, and images that only the annotations hold; replace nothing."""
    for path in (*targets.values(), *embedded):
        if path.exists():
            raise DatasetError(f"{path} exists, and nothing is replaced. Name another folder with --save-to")
    for path, encoded in embedded.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded)
    for name, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(contents[name]))


def _tell(data, contents, targets, root, skip_bad):
    say("Classes", f"{', '.join(data.classes)} ({len(data.classes)})")
    for note in data.notes:
        say("Note", note)
    for name, content in contents.items():
        numbers = spelled(len(content["images"]), "image"), spelled(len(content["annotations"]), "object")
        say("Written", f"{targets[name]}: {', '.join(numbers)}")
    for sentence, count in data.left_out.items():
        if count:
            say("Left out", counted(sentence, count))
    for problem in data.findings.problems if skip_bad else ():
        say("Skipped", problem)
    say("Next", "instseg check-data " + " ".join(
        f"--{name}-ann-files {quote(str(targets[name]))} --{name}-data-roots {quote(str(root))}"
        for name in ("train", "val") if name in targets))
