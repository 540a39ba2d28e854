"""Examine a data set before training: say what is wrong, what to do about it, and write a repaired copy."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote

from instance_segmentation.coco import salvage_annotations
from instance_segmentation.coco.findings import Finding, spelled
from instance_segmentation.data.checks import class_counts, look_alikes, rare_classes, same_content, small_objects
from instance_segmentation.data.layouts import find_files
from instance_segmentation.data.object_sizes import Suggestion, object_sides, suggest
from instance_segmentation.errors import DatasetError
from instance_segmentation.report import progress, say, table, write_metrics_json
from instance_segmentation.templates.catalogue import CUSTOM, find_template, list_templates

TITLES = {"problem": "PROBLEM", "warning": "Warning", "note": "Note"}
SHOWN_CLASSES = 20
ANYWAY = {"problem": "correct it, or let --fix leave it out"}


@dataclass
class Checkup:
    """What was examined and found.

    Attributes:
        sources: Split name, train and val or all → its annotation files and image roots.
        folder: The folder they were found in, None when they were named.
        splits: Split name → `coco.Annotations` of what has no problem; a split of which nothing is left is missing.
        findings: List of `coco.findings.Finding`.
        unwanted: Split name → paths of images that a repaired copy leaves out.
        suggestion: Template and tile; None without objects.
        fixed: Split name → path of the repaired copy.
    """

    sources: dict
    folder: Path | None = None
    splits: dict = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unwanted: dict = field(default_factory=lambda: defaultdict(set))
    suggestion: Suggestion | None = None
    fixed: dict = field(default_factory=dict)

    def count(self, level):
        """How many kinds of "problem", "warning" or "note" were found."""
        return sum(finding.level == level for finding in self.findings)


def check_data(data=None, *, train_ann_files=None, train_data_roots=None, val_ann_files=None, val_data_roots=None, classes=None,
               template=None, similar=True, fix=None, save_json=None, strict=False):
    """Examine a COCO data set and print the findings, each with its remedy, and the next command.

    Args:
        data: Folder in one of the usual layouts; or else the next four.
        train_ann_files, train_data_roots, val_ann_files, val_data_roots: Lists of COCO files and image folders; either split
            may be left out.
        classes: Names to examine, in label order; all categories of the first file when None.
        template: Name or path of the template meant; the most fitting one is suggested when None.
        similar: Also look for pictures of val that look like one of train, which decodes every image.
        fix: Folder for a repaired copy: train.json and val.json that name the original images, of which none is touched.
        save_json: File for the findings.
        strict: Warnings count as problems.

    Returns:
        A Checkup.

    Raises:
        DatasetError: After printing, when training would refuse the data, and no copy was written; before, when there is nothing
            to examine or `fix` holds files already.
        TemplateError: There is no such template.
    """
    sources = _sources(data, train=(train_ann_files, train_data_roots), val=(val_ann_files, val_data_roots))
    # those of COCO's classes are for comparisons and special wishes
    templates = [find_template(template)] if template else [known for known in list_templates() if known.problem == CUSTOM]
    targets = _targets(fix, sources)
    checkup = _examine(Checkup(sources, data), classes, templates, similar)
    _tell(checkup)
    _write_copy(checkup, targets)
    for number, command in enumerate(_next(checkup)):
        say(" " if number else "Next", command)
    if save_json:
        write_metrics_json(save_json, _record(checkup))
    if checkup.count("problem") and not fix:
        raise DatasetError(f"{spelled(checkup.count('problem'), 'problem')}: training refuses this data. Correct it, or let --fix"
                           " DIR write a copy without what is wrong")
    if strict and checkup.count("warning"):
        raise DatasetError(f"{spelled(checkup.count('warning'), 'warning')}, and --strict was given")
    return checkup


def _sources(data, **splits):
    if data:
        if any(files for files, _ in splits.values()):
            raise DatasetError(f"got the folder {data} and --train-ann-files or --val-ann-files; name one or the other")
        return {name: ([file], [root]) for name, (file, root) in find_files(data).items()}
    for name, (files, roots) in splits.items():
        if bool(files) != bool(roots):
            raise DatasetError(f"--{name}-ann-files and --{name}-data-roots belong together; got only one of them")
    given = {name: source for name, source in splits.items() if source[0]}
    if not given:
        raise DatasetError("nothing to examine: name a folder, or --train-ann-files and --train-data-roots")
    return given


def _targets(folder, sources):
    """Path of each split's copy; none of them exists."""
    targets = {name: Path(folder) / f"{name}.json" for name in sources} if folder else {}
    for path in targets.values():
        if path.exists():
            raise DatasetError(f"--fix {folder}: {path} exists, and nothing is replaced. Name another folder")
    return targets


def _examine(checkup, classes, templates, similar):
    for name, (files, roots) in checkup.sources.items():
        with progress(f"checking {name} images") as checked:
            found, annotations = salvage_annotations(files, roots, classes=classes, all_classes=name != "val", progress=checked)
        if annotations:
            checkup.splits[name] = annotations
            classes = annotations.classes
        for findings in found:
            checkup.findings += findings.listed(name if len(found) == 1 else f"{name}, {findings.source}")
    _compare(checkup, similar)
    checkup.findings += rare_classes(checkup.splits)
    for name, annotations in list(checkup.splits.items())[:1]:  # what is learnt from
        sides, images_hw = object_sides(annotations)
        if len(sides):
            checkup.suggestion = suggest(sides, images_hw, templates)
            checkup.findings += small_objects(checkup.suggestion, name)
    return checkup


def _compare(checkup, similar):
    """Look for the same pictures."""
    with progress("comparing files") as compared:
        findings, pairs = same_content(checkup.splits, compared)
    checkup.findings += findings
    checkup.unwanted["train"].update(train for train, _ in pairs)
    if similar and {"train", "val"} <= set(checkup.splits):
        with progress("comparing pictures") as compared:
            findings, broken = look_alikes(checkup.splits["train"], checkup.splits["val"], pairs, compared)
        checkup.findings += findings
        for name in checkup.splits:
            checkup.unwanted[name] |= broken


def _write_copy(checkup, targets):
    """Write and tell what has no problem; images that val has too are left out of train."""
    for name, path in targets.items():
        if name not in checkup.splits:
            reasons = "\n  ".join(finding.text for finding in checkup.findings if finding.where.startswith(name))
            raise DatasetError(f"--fix: nothing of {name} can be kept:\n  {reasons}")
        checkup.splits[name] = checkup.splits[name].without(checkup.unwanted[name])
        checkup.fixed[name] = checkup.splits[name].write(path)
        say("Written", f"{path}: {checkup.splits[name].summary()}; its images are where they were, untouched")


def _tell(checkup):
    """Print what was found, the worst first."""
    say("Data", " · ".join(f"{name} {annotations.summary()}" for name, annotations in checkup.splits.items()))
    if checkup.splits:
        _tell_classes(checkup.splits)
    for level, title in TITLES.items():
        for finding in checkup.findings:
            if finding.level == level:
                say(title, f"{finding.where}: {finding.text}")
                if remedy := finding.remedy or ANYWAY.get(level):
                    say(" ", f"→ {remedy}")
    if checkup.suggestion:
        _tell_suggestion(checkup.suggestion)
    say("Result", ", ".join(spelled(checkup.count(level), level) for level in ("problem", "warning") if checkup.count(level))
        or "nothing that stands against training")

def _tell_classes(splits):
    columns = [f"{name} {what}" for name in splits for what in ("objects", "images")]
    counts = [class_counts(annotations) for annotations in splits.values()]
    names = sorted(counts[0], key=lambda name: counts[0][name]) if len(counts[0]) > SHOWN_CLASSES else counts[0]
    table("", ("class", *columns), [(name, *(number for split in counts for number in split[name]))
                                    for name in list(names)[:SHOWN_CLASSES]])
    if len(names) > SHOWN_CLASSES:
        say(" ", f"and {len(names) - SHOWN_CLASSES} classes with more; --save-json lists all")


def _tell_suggestion(suggestion):
    say("Template", suggestion.template + (f" with --tile {suggestion.tile_px}" if suggestion.tile_px else ""))
    for name, share in suggestion.too_small.items():
        say(" ", f"{share:.0%} of the objects are too small for {name}" + (" on whole images" if suggestion.tile_px else ""))


def _next(checkup):
    """The commands that come next, as the user would type them."""
    files = {name: (checkup.fixed[name], "/") if name in checkup.fixed else [",".join(map(str, part)) for part in source]
             for name, source in checkup.sources.items()}
    data = " ".join(f"--{name}-ann-files {quote(str(file))} --{name}-data-roots {quote(str(root))}"
                    for name, (file, root) in files.items())
    if checkup.count("problem") and not checkup.fixed:
        return ["the same command with --fix repaired, or correct the problems and run it again"]
    if "all" in files:
        folder = checkup.fixed["all"].parent if checkup.fixed else checkup.folder
        return [f"tools/quickstart.sh --data {quote(str(folder))} (it sets a fifth of the images aside for validation)"]
    template, tile = (checkup.suggestion.template, checkup.suggestion.tile_px) if checkup.suggestion else ("TEMPLATE", None)
    return [f"instseg new {template} my_work",
            f"python my_work/train.py --load-weights my_work/snapshot.pth {data}" + (f" --tile {tile}" if tile else "")]


def _record(checkup):
    """What the JSON file holds."""
    splits = {}
    for name, annotations in checkup.splits.items():
        counts = class_counts(annotations)
        splits[name] = dict(images=len(annotations.images),
                            classes={key: dict(objects=objects, images=images) for key, (objects, images) in counts.items()})
    return dict(data=splits, findings=[asdict(finding) for finding in checkup.findings],
                suggestion=asdict(checkup.suggestion) if checkup.suggestion else None,
                fixed={name: str(path) for name, path in checkup.fixed.items()})
