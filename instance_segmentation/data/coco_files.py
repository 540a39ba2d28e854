"""What people do to COCO files before training: split, combine, count, crop."""

import math
from collections import Counter
from pathlib import Path

import msgspec

from instance_segmentation.coco import combine, read_annotations, read_document, split
from instance_segmentation.coco.images import orientation
from instance_segmentation.data.layouts import image_root
from instance_segmentation.errors import DatasetError, MediaError
from instance_segmentation.report import progress, say, table, write_text

SMALL, MEDIUM = 32 ** 2, 96 ** 2  # px², COCO's limits


def split_coco(ann_file, outputs, ratios, *, shuffle=True, stratify=False, seed=0):
    """Divide a COCO file; image names stay as they are, so the parts belong beside it or to the same image folder.

    Args:
        ann_file: A COCO file.
        outputs: One path per ratio, or a single one that gets the part's number appended, from 0.
        ratios, shuffle, stratify, seed: As of `coco.split`.

    Returns:
        Paths of the parts.

    Raises:
        DatasetError: The file is wrong, or the numbers do not fit.
    """
    outputs = [Path(output) for output in outputs]
    if len(outputs) == 1 < len(ratios):
        outputs = [outputs[0].with_name(f"{outputs[0].name}.{index}") for index in range(len(ratios))]
    if len(outputs) != len(ratios):
        raise DatasetError(f"--output names {len(outputs)} files for {len(ratios)} --ratios; name one per ratio, or one for all")
    parts = split(read_document(ann_file), ratios, shuffle=shuffle, stratify=stratify, seed=seed)
    for path, part in zip(outputs, parts, strict=True):
        _write(path, part)
    _tell_classes(outputs, parts)
    return outputs


def _write(path, document):
    write_text(path, msgspec.json.encode(document).decode())


def _tell_classes(paths, parts):
    """Print how many objects of each class each part has."""
    names = {category["id"]: category["name"] for category in parts[0]["categories"]}
    counts = [Counter(annotation["category_id"] for annotation in part["annotations"]) for part in parts]
    rows = [(str(path), len(part["images"]), *(count[number] for number in names))
            for path, part, count in zip(paths, parts, counts, strict=True)]
    table("", ("file", "images", *names.values()), rows)


def combine_coco(ann_files, output):
    """Join COCO files into one, as `coco.combine` does; image names stay as they are.

    Raises:
        DatasetError: A file is wrong, or two list the same image.
    """
    document = combine([read_document(path) for path in ann_files])
    _write(Path(output), document)
    _tell_classes([output], [document])


def coco_stats(ann_file, save_to=None):
    """Count what a COCO file holds, crowds apart, and print it.

    Args:
        ann_file: A COCO file.
        save_to: JSON file for the numbers, or None.

    Returns:
        A dict with `images`, `empty_images`, `crowds` and `classes`: name → `objects`, `images`, `small`, `medium`, `large`
        (COCO's limits of area, 32² and 96² px) and `median_side`, the root of the median area in px.
    """
    annotations = read_annotations([ann_file], [Path(ann_file).parent], check_images=False)
    objects = [item for item in annotations.annotations if not item["iscrowd"]]
    with_objects = {item["image_id"] for item in annotations.annotations}
    stats = dict(images=len(annotations.images), empty_images=len(annotations.images) - len(with_objects),
                 crowds=len(annotations.annotations) - len(objects),
                 classes={name: _class_stats([item for item in objects if item["category_id"] == number])
                          for number, name in enumerate(annotations.classes, 1)})
    say("Data", annotations.summary())
    rows = [(name, *(round(value) for value in counts.values())) for name, counts in stats["classes"].items()]
    table("", ("class", "objects", "images", "small", "medium", "large", "median side, px"), rows)
    for note in annotations.notes:
        say("", note)
    if save_to:
        write_text(save_to, msgspec.json.format(msgspec.json.encode(stats)).decode() + "\n")
        say("Written", str(save_to))
    return stats


def _class_stats(objects):
    areas = sorted(item["area"] for item in objects)
    small, up_to_medium = (sum(area < limit for area in areas) for limit in (SMALL, MEDIUM))
    return dict(objects=len(areas), images=len({item["image_id"] for item in objects}), small=small,
                medium=up_to_medium - small, large=len(areas) - up_to_medium,
                median_side=math.sqrt(areas[len(areas) // 2]) if areas else 0.0)


def crop_coco(ann_file, output, images=None):
    """Cut every object but crowds out of its image, by its box.

    Args:
        ann_file: A COCO file.
        output: Folder for the crops: IMAGE__CLASS__X1-Y1-X2-Y2.jpg (the image's own suffix), whole pixels of the image.
        images: Image folder; found beside the file when None.

    Returns:
        Number of crops.

    Raises:
        DatasetError: The file or its images are wrong.
        MediaError: A crop cannot be written.
    """
    from PIL import Image, ImageOps
    annotations = read_annotations([ann_file], [images or image_root(ann_file)])
    objects = {image["id"]: [] for image in annotations.images}
    for item in annotations.annotations:
        if not item["iscrowd"]:
            objects[item["image_id"]].append(item)
    Path(output).mkdir(parents=True, exist_ok=True)
    with progress("cropping") as done:
        for number, image in enumerate(annotations.images, 1):
            with Image.open(image["file_name"]) as picture:
                upright = ImageOps.exif_transpose(picture) if orientation(picture) != 1 else picture
                for item in objects[image["id"]]:
                    _crop(upright, item, annotations.classes, Path(image["file_name"]), Path(output))
            done(number, len(annotations.images))
    total = sum(map(len, objects.values()))
    say("Crops", f"{total} of {len(annotations.images)} images in {output}")
    return total


def _crop(picture, item, classes, source, output):
    x, y, width, height = item["bbox"]
    corners = (max(0, math.floor(x)), max(0, math.floor(y)), min(picture.width, math.ceil(x + width)),
               min(picture.height, math.ceil(y + height)))
    name = classes[item["category_id"] - 1].replace("/", "_")
    path = output / f"{source.stem}__{name}__{'-'.join(map(str, corners))}{source.suffix}"
    try:
        picture.crop(corners).save(path)
    except OSError as error:
        raise MediaError(f"--output {path}: cannot be written ({error.strerror or error}); is there room, and may you write "
                         "there?") from error
