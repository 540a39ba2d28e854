"""Read one or several COCO files into one checked, normal `Annotations`."""

import contextlib
import gc
from collections import Counter
from pathlib import Path

from instance_segmentation.coco.files import load_coco, pair_files, read_categories
from instance_segmentation.coco.findings import Findings, did_you_mean, raise_problems, spelled
from instance_segmentation.coco.images import check_images as check_image_files
from instance_segmentation.coco.images import read_images
from instance_segmentation.coco.objects import ObjectReader
from instance_segmentation.coco.record import Annotations
from instance_segmentation.coco.turning import turn_objects
from instance_segmentation.errors import DatasetError


def read_annotations(ann_files, roots, *, classes=None, all_classes=True, keep_empty=True, check_images=True,
                     progress=None):
    """Read, check, merge and normalise COCO instance annotations.

    Args:
        ann_files: Paths or glob patterns of COCO files.
        roots: Image roots, one for all files or one per file; patterns allowed. A ``file_name`` is taken relative to
            its root as it stands, or absolute.
        classes: Names in the order wanted; None takes all categories of the first file in the order of their ids.
            Objects of other classes are left out.
        all_classes: Whether each of `classes` must be in some file's categories. A validation set may lack some: their
            AP is undefined then, and a note says so; one of them at least must be there.
        keep_empty: Keep images without an object of the classes (crowds do not count) as negatives.
        check_images: Open every image: it exists, decodes, and has the size the JSON says. See `images` for the limits.
        progress: Called as progress(done, total) for each image checked of a file.

    Returns:
        Annotations.

    Raises:
        DatasetError: Lists every problem of every file.
    """
    with _collector_paused():
        parts, classes = _read_files(ann_files, roots, classes, all_classes, check_images, progress)
        raise_problems([part.findings for part in parts])
        return _merge(parts, classes, keep_empty)


def salvage_annotations(ann_files, roots, *, classes=None, all_classes=True, progress=None):
    """Read what has no problem, and tell all problems instead of raising them.

    Images that are missing, broken or of another size are left out with their objects, and so are objects with a problem;
    objects whose image has an EXIF rotation that the JSON does not know of are turned with it. Files whose categories have a
    problem are left out.

    Args:
        ann_files, roots, classes, all_classes, progress: As of `read_annotations`.

    Returns:
        (`Findings` of each file, Annotations); None for the second when nothing is left.

    Raises:
        DatasetError: The paths or the class list make no sense.
    """
    with _collector_paused():
        parts, classes = _read_files(ann_files, roots, classes, all_classes, True, progress)
        for part in parts:
            part.images = [image for image in part.images if image.get("fault") != 0]
            turn_objects([image for image in part.images if image.get("fault")], part.annotations)
        readable = [part for part in parts if part.images and not part.unclear]
        return [part.findings for part in parts], _merge(readable, classes, keep_empty=True) if readable and classes else None


def _read_files(ann_files, roots, classes, all_classes, check_images, progress):
    """Return the `_Part` of each file, and the classes: those asked for, or else the first file's."""
    _check_class_list(classes)
    parts = [_read_file(*pair, classes, check_images, progress) for pair in pair_files(ann_files, roots)]
    if classes is None and parts[0].categories:
        classes = tuple(parts[0].categories)
    _check_classes_known(classes, parts, all_classes)
    return parts, classes and tuple(classes)


def category_names(ann_file):
    """Return the class names of a COCO file in the order of their ids.

    Raises:
        DatasetError: The file is not a COCO instances file, or its categories are wrong.
    """
    findings = Findings(ann_file)
    with _collector_paused():
        document = load_coco(Path(ann_file), findings)
        names = read_categories(document, findings) if document else {}
    raise_problems([findings])
    return tuple(names.values())


def read_document(ann_file):
    """Return a COCO file's content as it stands, once all of it but the images was checked as by `read_annotations`.

    Raises:
        DatasetError: Lists every problem.
    """
    read_annotations([ann_file], [Path(ann_file).parent], check_images=False)
    return load_coco(Path(ann_file), Findings(ann_file))


class _Part:
    """What one file gave: `categories` {name: id}, images and annotations with the file's own image ids.

    `unclear`: its categories have a problem, so that the class of some object is unknown.
    """

    def __init__(self, path):
        self.findings = Findings(path)
        self.categories = {}
        self.unclear = False
        self.images = []
        self.annotations = []
        self.counts = {"images": 0, "annotations": 0, "left out": 0}


def _read_file(path, root, classes, check_images, progress):
    part = _Part(path)
    document = load_coco(path, part.findings)
    if document is None:
        return part
    names = read_categories(document, part.findings)
    part.unclear = bool(part.findings.problems)
    part.categories = {name: category_id for category_id, name in names.items()}
    images = read_images(document, root, part.findings)
    part.images = [image for image in images.values() if image]
    part.counts.update(images=len(document["images"]), annotations=len(document["annotations"]))
    for number, image in enumerate(part.images):
        image["id"] = number
    # Labels are names here: which number a name gets is known once all files are read.
    wanted = {category_id: name if classes is None or name in classes else None for category_id, name in names.items()}
    reader = ObjectReader(images, wanted, part.findings)
    part.annotations = _drained(document["annotations"], reader)
    reader.boxes.tell()
    part.counts["left out"] = reader.left_out
    if check_images:
        check_image_files(part.images, root, part.findings, progress)
    return part


def _drained(raw, reader):
    """Normalise the list `raw` and empty it on the way, so that a large file is not held twice."""
    raw.reverse()
    annotations = []
    while raw:
        annotation = reader.read(raw.pop())
        if annotation:
            annotations.append(annotation)
    return annotations


def _check_class_list(classes):
    if isinstance(classes, str):
        raise TypeError(f"classes: got the text {classes!r}, expected a list of names")
    if classes is None:
        return
    if not classes:
        raise DatasetError("The class list is empty. Name at least one class, or leave the list out to take all.")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DatasetError(f"The class list names {', '.join(twice)} more than once. Name each class once.")


def _check_classes_known(classes, parts, all_classes):
    """Add a problem for each class that no file has; unless all are required, only when no file has any of them."""
    loaded = [part for part in parts if part.categories]
    if classes is None or not loaded:
        return
    known = {name for part in loaded for name in part.categories}
    if not all_classes and known.intersection(classes):
        return
    for name in classes:
        if name not in known:
            listed = ", ".join(sorted(known)[:20]) + (", …" if len(known) > 20 else "")
            where = "this file" if len(parts) == 1 else "any of the files"
            loaded[0].findings.problem(f'class "{name}" is not in {where}{did_you_mean(name, known) or "."} It has: {listed}',
                                        whole=True)


def _merge(parts, classes, keep_empty):
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images, annotations = [], []
    for part in parts:
        kept = _kept_images(part, numbers, keep_empty)
        offset = len(images)
        new_id = {image["id"]: offset + number for number, image in enumerate(kept, 1)}
        images += [
            {"id": new_id[image["id"]], **{key: image[key] for key in ("file_name", "width", "height", "source_id")}}
            for image in kept
        ]
        for annotation in part.annotations:
            number = numbers.get(annotation["category_id"])
            image_id = new_id.get(annotation["image_id"])
            if number is None:
                part.counts["left out"] += 1
            elif image_id is not None:
                annotation.update(image_id=image_id, category_id=number)
                annotations.append({"id": len(annotations) + 1, **annotation})
        part.annotations = ()
        _note_left_out(part, classes)
    notes = _notes(parts, images)
    if not images:
        raise DatasetError(_nothing_left(parts, classes, notes))
    return Annotations(classes, images, annotations, notes, _common_ids(parts, classes))


def _kept_images(part, numbers, keep_empty):
    if keep_empty:
        return part.images
    used = {
        annotation["image_id"] for annotation in part.annotations
        if not annotation["iscrowd"] and annotation["category_id"] in numbers
    }
    dropped = [image for image in part.images if image["id"] not in used]
    if dropped:
        sentence = "{n} image|images without an object of the classes left out"
        part.findings.note(sentence, dropped[0]["name"], len(dropped))
    return [image for image in part.images if image["id"] in used]


def _note_left_out(part, classes):
    others = [name for name in part.categories if name not in classes]
    if part.counts["left out"]:
        sentence = "{n} object|objects of other classes left out"
        part.findings.note(sentence, ", ".join(others[:5]), part.counts["left out"])
    absent = [name for name in classes if name not in part.categories]
    if absent:
        part.findings.note('{n} class|classes not in its "categories"', ", ".join(absent[:5]), len(absent))


def _notes(parts, images):
    several = len(parts) > 1
    notes = [f"{part.findings.source}: {note}" if several else note for part in parts for note in part.findings.notes]
    counts = Counter(image["file_name"] for image in images)
    if len(counts) < len(images):
        twice = [name for name, count in counts.items() if count > 1]
        listed = f"{spelled(len(twice), 'image')} listed more than once"
        notes.append(f"{listed}, each time with its own objects (first: {twice[0]})")
    return tuple(notes)


def _nothing_left(parts, classes, notes):
    images, objects = (sum(part.counts[key] for part in parts) for key in ("images", "annotations"))
    lines = [
        f"{', '.join(part.findings.source for part in parts)}: no image is left, nothing was started.",
        f"{spelled(images, 'image')} read, 0 kept; {spelled(objects, 'object')} read, 0 kept."
        f" Classes asked for: {', '.join(classes)}",
        *notes,
    ]
    return "\n  ".join(lines)


def _common_ids(parts, classes):
    """Return {class: category id in the files}, or None when the files number a class differently."""
    ids = {}
    for part in parts:
        for name in classes:
            if ids.setdefault(name, part.categories.get(name)) != part.categories.get(name):
                return None
    return ids


@contextlib.contextmanager
def _collector_paused():
    """Pause the cyclic garbage collector: millions of new lists would make it walk all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
