"""Divide and join COCO files as they are: every key that the user's files have is kept."""

import random
from collections import Counter

from instance_segmentation.errors import DatasetError


def split(document, ratios, *, shuffle=True, stratify=False, seed=0):
    """Divide the images of a COCO document, each with its objects; ids stay as they are.

    Args:
        document: A checked COCO document, see `reading.read_document`; not changed.
        ratios: One number > 0 per part, for example (8, 1, 1).
        shuffle: Draw the images at random; else the parts follow each other in the file's order.
        stratify: Give each part its share of the images of every class, too.
        seed: Of what is random; the same seed divides the same way.

    Returns:
        One document per ratio. No part is empty.

    Raises:
        DatasetError: There are fewer images than parts.
    """
    images = list(document["images"])
    if len(images) < len(ratios):
        raise DatasetError(f"{len(images)} images cannot be divided into {len(ratios)} parts; name fewer --ratios")
    if shuffle:
        random.Random(seed).shuffle(images)
    sizes = part_sizes(len(images), ratios)
    if stratify:
        parts = _stratified(images, document["annotations"], sizes)
    else:
        parts = [images[sum(sizes[:index]):sum(sizes[:index + 1])] for index in range(len(sizes))]
    return [_with_images(document, part) for part in parts]


def part_sizes(total, ratios):
    """How many of `total` images each part gets: its rounded share, but at least one."""
    bounds = [round(total * sum(ratios[:index]) / sum(ratios)) for index in range(len(ratios) + 1)]
    sizes = [end - start for start, end in zip(bounds, bounds[1:], strict=False)]
    while min(sizes) == 0:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return sizes


def _stratified(images, annotations, sizes):
    """Iterative stratification (Sechidis et al. 2011): the images of the rarest class first, each to the part that lacks most."""
    classes = {image["id"]: set() for image in images}
    for annotation in annotations:
        classes[annotation["image_id"]].add(annotation["category_id"])
    totals = Counter(name for found in classes.values() for name in found)
    lacks = [{name: total * size / len(images) for name, total in totals.items()} for size in sizes]
    parts, left = [[] for _ in sizes], images
    while left:
        counts = Counter(name for image in left for name in classes[image["id"]])
        rarest = min(counts, key=counts.get, default=None)
        group = [image for image in left if rarest is None or rarest in classes[image["id"]]]
        left = [image for image in left if rarest is not None and rarest not in classes[image["id"]]]
        for image in group:
            open_parts = [index for index, part in enumerate(parts) if len(part) < sizes[index]]
            chosen = max(open_parts, key=lambda index: (lacks[index].get(rarest, 0), sizes[index] - len(parts[index])))
            parts[chosen].append(image)
            for name in classes[image["id"]]:
                lacks[chosen][name] -= 1
    return parts


def _with_images(document, images):
    ids = {image["id"] for image in images}
    objects = [annotation for annotation in document["annotations"] if annotation["image_id"] in ids]
    return {**document, "images": images, "annotations": objects}


def combine(documents):
    """Join COCO documents: categories of the same name become one, images, objects and categories are numbered from 1.

    Args:
        documents: Checked COCO documents; not changed.

    Returns:
        A document with the other keys of the first.

    Raises:
        DatasetError: Two documents list an image of the same name.
    """
    categories, images, annotations = {}, [], []
    for document in documents:
        for category in document["categories"]:
            categories.setdefault(category["name"], {**category, "id": len(categories) + 1})
        names = {category["id"]: category["name"] for category in document["categories"]}
        numbers = {image["id"]: number for number, image in enumerate(document["images"], len(images) + 1)}
        images += [{**image, "id": numbers[image["id"]]} for image in document["images"]]
        annotations += [
            {**annotation, "id": number, "image_id": numbers[annotation["image_id"]],
             "category_id": categories[names[annotation["category_id"]]]["id"]}
            for number, annotation in enumerate(document["annotations"], len(annotations) + 1)
        ]
    twice = [name for name, count in Counter(image["file_name"] for image in images).items() if count > 1]
    if twice:
        raise DatasetError(f"{len(twice)} images are in more than one of the files (first: {twice[0]}). One image would be there"
                           " twice: leave it out of one file, or rename it if the files mean different images")
    return {**documents[0], "images": images, "annotations": annotations, "categories": list(categories.values())}
