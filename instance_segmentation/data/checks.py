"""What a COCO reader cannot see: pictures in both splits, classes with hardly an object, objects too small for the network."""

from collections import Counter, defaultdict
from pathlib import Path

from instance_segmentation.coco.copies import same_files, similar_pictures
from instance_segmentation.coco.findings import Finding, spelled
from instance_segmentation.data.object_sizes import SMALLEST_PX, TOLERATED

FEW_OBJECTS = 10  # of a class, below which a split to train on gets a warning: a rule of thumb, not a measured bound
SHOWN = 5  # names in a sentence; JSON has them all


def same_content(splits, progress):
    """Find files with the same content, within a split and across splits.

    Args:
        splits: Split name → `coco.Annotations`.
        progress: Called as progress(done, total).

    Returns:
        (list of Finding, list of all pairs of paths (train, val) with one content).
    """
    homes = defaultdict(set)
    for name, annotations in splits.items():
        for image in annotations.images:
            homes[image["file_name"]].add(name)
    groups = same_files(list(homes), progress)
    findings = []
    for name in splits:
        repeated = [inside for group in groups if len(inside := [path for path in group if name in homes[path]]) > 1]
        if repeated:
            count = sum(len(inside) - 1 for inside in repeated)
            text = f"{spelled(count, 'image')} with the same content as another (first: {_pair(repeated[0])})"
            findings.append(Finding("warning", name, text, "keep one of each, with all its objects", count, repeated))
    grouped = {path for group in groups for path in group}
    alone = [[path] for path in homes if path not in grouped]
    pairs = [(train, val) for group in groups + alone for val in group if "val" in homes[val]
             for train in group if "train" in homes[train]]
    return findings + _leaks(pairs), pairs


def _leaks(pairs):
    if not pairs:
        return []
    leaked = len({val for _, val in pairs})
    text = f"{spelled(leaked, 'image')} of val in train too, byte for byte: {_listed(map(_pair, pairs))}"
    return [Finding("warning", "train and val", text, "a score on images that were trained on says nothing: take them out of one"
                    " split; --fix takes them out of train", leaked, pairs)]


def look_alikes(train, val, known, progress):
    """Find pictures of val that look like one of train, and images that cannot be decoded.

    Args:
        train, val: `coco.Annotations`.
        known: Pairs (train, val) that are known to be the same.
        progress: Called as progress(done, total).

    Returns:
        (list of Finding, set of the paths that cannot be decoded).
    """
    seen = {path for pair in known for path in pair}
    firsts, seconds = (list(dict.fromkeys(image["file_name"] for image in split.images if image["file_name"] not in seen))
                       for split in (train, val))
    pairs, broken = similar_pictures(firsts, seconds, progress)
    findings = []
    if broken:
        text = f"{spelled(len(broken), 'image')} that cannot be decoded to the end: {_listed(broken)}"
        findings.append(Finding("problem", "train and val", text, "export or copy again", len(broken), broken))
    if pairs:
        text = f"{spelled(len(pairs), 'image')} of val like one of train: {_listed(map(_pair, pairs))}"
        findings.append(Finding("warning", "train and val", text, "look at the pairs (--save-json lists them): pictures of one"
                                " scene belong in one split", len(pairs), pairs))
    return findings, set(broken)


def _pair(pair):
    train, val = ("/".join(Path(path).parts[-2:]) for path in pair[:2])
    return val if train == val else f"{val} is {train}"


def class_counts(annotations):
    """Return {class: (objects, images with one)}, crowds left out."""
    objects, images = Counter(), defaultdict(set)
    for item in annotations.annotations:
        if not item["iscrowd"]:
            objects[item["category_id"]] += 1
            images[item["category_id"]].add(item["image_id"])
    return {name: (objects[number], len(images[number])) for number, name in enumerate(annotations.classes, 1)}


def rare_classes(splits):
    """Name classes with fewer than `FEW_OBJECTS` objects to learn from, and those that validation cannot score."""
    findings = []
    for split, annotations in splits.items():
        least = 1 if split == "val" else FEW_OBJECTS
        rare = {name: count for name, (count, _) in class_counts(annotations).items() if count < least}
        if rare:
            findings.append(_rare(split, rare))
    return findings


def _rare(split, rare):
    text = "1 class" if len(rare) == 1 else f"{len(rare)} classes"
    if split == "val":
        text += f" without an object, whose AP is undefined: {_listed(rare)}"
        return Finding("warning", split, text, "move some images that show them from train to val", len(rare), list(rare))
    text += f" with fewer than {FEW_OBJECTS} objects: {_listed(f'{name} ({count})' for name, count in rare.items())}"
    return Finding("warning", split, text, "label more of them, or leave them out with --classes", len(rare), list(rare))


def _listed(names):
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def small_objects(suggestion, split):
    """Warn when even the suggested template sees too many objects too small.

    Args:
        suggestion: `object_sizes.Suggestion`.
        split: Name of the split that it was made from.
    """
    if suggestion.tile_px is None:
        return []
    text = (f"{suggestion.too_small[suggestion.template]:.0%} of the objects are below {SMALLEST_PX:.1f}×{SMALLEST_PX:.1f} px at"
            f" the input of {suggestion.template}, too small to be learnt (at most {TOLERATED:.0%} should be)")
    return [Finding("warning", split, text, f"train, evaluate and run with --tile {suggestion.tile_px}")]
