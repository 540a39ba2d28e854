"""Make a work dir from a template, whole or not at all, and open one."""

import contextlib
import fcntl
import os
import shutil
import string
import uuid
from dataclasses import dataclass
from pathlib import Path

from instance_segmentation import __version__
from instance_segmentation.errors import DownloadError, TemplateError
from instance_segmentation.templates.bases import config_files, inside
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.templates.schema import Template, load_template
from instance_segmentation.templates.weights import cache_path, fetch, matches

SCAFFOLD = Path(__file__).resolve().parent / "scaffold"
BUILDING = ".instseg-new-"
SCRIPTS = ("train.py", "eval.py", "export.py", "compress.py")


@dataclass(frozen=True)
class WorkDir:
    """A work dir and its parts; `snapshot` is None when it was made without one."""

    path: Path
    template: Template
    config: Path
    snapshot: Path | None


def open_workdir(path):
    """Check that a folder is a work dir, and read its template.yaml.

    Raises:
        TemplateError: It is none; the message says what is missing and how to make one.
    """
    path = Path(path).resolve()
    if not path.is_dir():
        raise TemplateError(f"{path}: no such work dir. Make one: instseg new TEMPLATE {path}")
    if not (path / "template.yaml").is_file():
        raise TemplateError(f"{path}: is not a work dir, template.yaml is missing. "
                            "Make one: instseg new TEMPLATE FOLDER")
    template = load_template(path / "template.yaml")
    config = inside(path / template.config, path, f"{path / 'template.yaml'}: config")
    snapshot = path / template.initial_weights if template.initial_weights else None
    return WorkDir(path, template, config, snapshot if snapshot and snapshot.is_file() else None)


def instantiate(template, output, *, load_snapshot=True, force=False, offline=False, progress=None):
    """Make a work dir.

    It is built in a hidden folder beside `output` (`.NAME.instseg-new-…`; inside it as `.instseg-new-…` where `output`
    exists, which may be a mount point or a shell's current folder) and renamed when complete. A run that is killed
    leaves at most that folder, which the next run for the same `output` removes.

    Args:
        template: A Template, its name, or the path of a template.yaml or of its folder.
        output: Folder to make; an existing one must be empty.
        load_snapshot: Fetch the template's snapshot.
        force: Write into a work dir that exists: the template's files are replaced, every other file stays as it is,
            and so does a snapshot that is there already when `load_snapshot` is off.
        offline: Take downloads from the cache only.
        progress: Called as progress(bytes so far, size) while downloading.

    Returns:
        The absolute path of the work dir.

    Raises:
        TemplateError: The template is wrong, or `output` cannot be used; nothing has changed.
        DownloadError: The snapshot cannot be had; nothing has changed.
    """
    template = template if isinstance(template, Template) else find_template(template)
    output = Path(output).resolve()
    files = _contents(template)
    downloads = [item for item in template.dependencies if item.is_url and (load_snapshot or item != template.snapshot)]
    try:
        _check_output(output, template, [*files, *(item.destination for item in downloads)], force)
        with _building(output) as building:
            for name, content in files.items():
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                (building / name).write_bytes(content)
            for item in downloads:
                (building / item.destination).parent.mkdir(parents=True, exist_ok=True)
                _fetch(item, item == template.snapshot, output, building, offline, progress)
            _put_in_place(building, output)
    except OSError as error:
        raise TemplateError(f"{output}: the work dir cannot be written ({error.strerror or error}); "
                            "nothing was left behind. Check the path and the space on its disk.") from error
    return output


def template_root(folder):
    """The folder that all of a template's files must lie in: the nearest of it and the two above it with a `_base_`
    folder (the layout of model_templates), else the template's own folder.
    """
    folder = Path(folder).resolve()
    return next((place for place in (folder, *folder.parents[:2]) if (place / "_base_").is_dir()), folder)


def _contents(template):
    """All files of a work dir that need no download: path relative to it → bytes."""
    root, where = template_root(template.path), template.path / "template.yaml"
    files = config_files(inside(template.path / template.config, root, f"{where}: config"), root)
    files = {name if name.startswith("_base_/") else template.config: content for name, content in files.items()}
    files["template.yaml"] = where.read_bytes()
    files.update((name, (SCAFFOLD / name).read_bytes()) for name in SCRIPTS)
    for index, item in enumerate(template.dependencies):
        if item.destination == template.config:  # a download would become the program that train.py runs
            raise TemplateError(f"{where}: dependencies[{index}].destination: '{item.destination}' is the config")
        if not item.is_url:
            source = inside(template.path / item.source, root, f"{where}: dependencies[{index}].source")
            if item.sha256 and not matches(source, item.size or source.stat().st_size, item.sha256):
                raise TemplateError(f"{where}: dependencies[{index}]: {source} has another size or sha256")
            files[item.destination] = source.read_bytes()
    files["README.md"] = _readme(template).encode()
    return files


def _readme(template):
    """The work dir's README, with the commands of this template."""
    text = string.Template((SCAFFOLD / "README.md").read_text(encoding="utf-8"))
    basic, weights = template.hyper_parameters.basic, template.initial_weights
    published = {metric.key: "–" if metric.value is None else f"{metric.value:g}" for metric in template.metrics}
    as_they_are = ("name", "summary", "problem", "annotation_format", "framework", "config")
    return text.substitute(
        {name: getattr(template, name) for name in as_they_are}, **published, **basic.model_dump(),
        height=template.input_size[0], width=template.input_size[1],
        input_format=template.output_format.openvino.input_format, version=__version__,
        training_target=", ".join(template.training_target), inference_target=", ".join(template.inference_target),
        load_weights=f" --load-weights {weights}" if weights else "",
        weights_note=f"Without `{weights}` leave `--load-weights` out: training then starts from random weights.\n"
        if weights else "",
        tensorboard=" Watch it with `tensorboard --logdir outputs`." if template.tensorboard else "")


def _check_output(output, template, names, force):
    """Refuse a place that cannot become this work dir, before anything is fetched or written."""
    if output.is_relative_to(template_root(template.path)):
        raise TemplateError(f"{output}: lies among the templates ({template_root(template.path)}); "
                            "choose a folder elsewhere")
    if not output.exists():
        return
    if not output.is_dir():
        raise TemplateError(f"{output}: exists and is not a folder; choose another name")
    if all(path.name.startswith(BUILDING) for path in output.iterdir()):
        return
    if not force:
        raise TemplateError(f"{output}: is not empty; choose another folder, or pass --force to write the template's "
                            "files again (all other files stay as they are)")
    present = [name for name in names if os.path.lexists(output / name)]
    if present and not (output / "template.yaml").is_file():
        raise TemplateError(f"{output}: is not a work dir, and has files that would be replaced: {', '.join(present)}; "
                            "choose another folder")
    for name in names:
        place = output / name
        if not place.parent.resolve().is_relative_to(output):
            raise TemplateError(f"{place}: a link leads outside the work dir; remove the link")
        if place.is_dir() and not place.is_symlink():
            raise TemplateError(f"{place}: is a folder, and the template has a file of this name; move the folder away")


@contextlib.contextmanager
def _building(output):
    """A locked folder beside or in `output`, gone at the end: renamed by then, or removed with parents made for it."""
    parent, prefix = (output, BUILDING) if output.is_dir() else (output.parent, f".{output.name}{BUILDING}")
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    for left_over in parent.iterdir():
        if left_over.name.startswith(prefix):
            _remove_if_dead(left_over)
    folder, lock = _locked_folder(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        with contextlib.suppress(OSError):  # not empty: the work dir is in there
            for empty in made:
                empty.rmdir()


def _locked_folder(parent, prefix):
    """Make a folder and hold a lock on it, which the kernel releases when the process dies."""
    while True:
        folder = parent / f"{prefix}{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # else a run that cleans up was faster than the lock
            return folder, lock
        os.close(lock)


def _remove_if_dead(folder):
    """Remove a folder that a killed run left; a living run holds its lock."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)


def _fetch(item, is_snapshot, output, building, offline, progress):
    """Fetch one dependency, from the work dir itself when it is there already."""
    if matches(output / item.destination, item.size, item.sha256):
        shutil.copyfile(output / item.destination, building / item.destination)
        return
    try:
        fetch(item.source, building / item.destination, size=item.size, sha256=item.sha256, offline=offline,
              progress=progress)
    except DownloadError as error:
        hints = []
        if not item.source.startswith("file:"):
            hints += [f"Or, if you have the file, put it at {cache_path(item.source, item.sha256)}"]
        hints += ["Or start from random weights: pass --do-not-load-snapshot"] * is_snapshot
        raise DownloadError("\n".join([str(error), *hints, f"Nothing was written to {output}."])) from error


def _put_in_place(building, output):
    """Rename the finished folder; into an existing folder, file by file, each in one step.

    template.yaml goes first: a folder that was left half-way is a work dir that `--force` mends.
    """
    if not output.is_dir():
        os.rename(building, output)
        return
    files = [path for path in building.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name != "template.yaml", path)):
        target = output / path.relative_to(building)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
