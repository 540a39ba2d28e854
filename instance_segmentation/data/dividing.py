"""Divide images into training and validation; what belongs together stays together."""

import csv
import random
import re

from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import decode_text

VALIDATION_SHARE = 0.2


def divided(images, source, groups=None, seed=0):
    """Divide a list of images at random; the same seed divides the same way.

    Args:
        images: List.
        source: What they come from, for messages.
        groups: For each image what it belongs to, such as a video, or None. All of a group go to one side. A single group is
            divided by its order: the last images, which are least like the first, are set aside.
        seed: Of the division.

    Returns:
        (images to train on, images to validate on).

    Raises:
        DatasetError: There are too few.
    """
    if len(images) < 2:
        raise DatasetError(f"{source}: {len(images)} image; at least 2 are needed, to train and to validate on")
    wanted = max(1, round(VALIDATION_SHARE * len(images)))
    members = _members(groups or [None] * len(images))
    if len(members) == 1:
        return images[:-wanted], images[-wanted:]
    chosen = set()
    for group in random.Random(seed).sample(list(members), len(members)):
        if len(chosen) < wanted and len(chosen) + len(members[group]) <= 1.5 * wanted:
            chosen.update(members[group])
    chosen = chosen or set(min(members.values(), key=len))
    val = [image for place, image in enumerate(images) if place in chosen]
    return [image for place, image in enumerate(images) if place not in chosen], val


def _members(groups):
    """Group → places of its images; an image of no group is one of its own."""
    members = {}
    for place, group in enumerate(groups):
        members.setdefault(("alone", place) if group is None else ("group", group), []).append(place)
    return members


def groups_of(names, rule):
    """For each image, what it belongs to by a user's rule.

    Args:
        names: File names of the images, relative to the data set.
        rule: "folder": the folder that it lies in; a .csv file: its second column, for the name in its first; anything else: a
            regular expression, whose first group is taken, or the whole of what it matches.

    Raises:
        DatasetError: The rule cannot be read, or says nothing of any image.
    """
    if rule == "folder":
        return [name.rpartition("/")[0] for name in names]
    groups = _by_table(names, rule) if str(rule).endswith(".csv") else _by_pattern(names, str(rule))
    if not any(group is not None for group in groups):
        raise DatasetError(f"--group-by {rule}: fits no image (first: {names[0] if names else 'none'})")
    return groups


def _by_pattern(names, rule):
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise DatasetError(f"--group-by {rule}: is no regular expression ({error}); or write folder, or name a .csv file"
                           ) from error
    matches = [pattern.search(name) for name in names]
    return [match and (match[1] if pattern.groups else match[0]) for match in matches]


def _by_table(names, file):
    try:
        with open(file, "rb") as stream:
            rows = list(csv.reader(decode_text(stream.read()).splitlines()))
    except (OSError, csv.Error) as error:
        raise DatasetError(f"--group-by {file}: cannot be read as CSV ({error})") from error
    table = {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    return [table.get(name, table.get(name.rpartition("/")[2])) for name in names]
