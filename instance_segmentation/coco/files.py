"""Find annotation files and load their JSON into the three COCO lists."""

import glob
from pathlib import Path

from instance_segmentation.coco.findings import did_you_mean, spelled
from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import JsonError, parse_json

_LISTS = ("images", "annotations", "categories")


def is_file(path):
    """Whether a file of this name is there; no for a name that none can have: too long, or with a NUL in it."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def pair_files(ann_files, roots):
    """Expand globs and give every annotation file its image root.

    Args:
        ann_files: Path, pattern, or list of them.
        roots: The same; one for all files or one per file, counted after the expansion.

    Returns:
        List of (annotation file, image root).

    Raises:
        DatasetError: A pattern matches nothing, or the numbers do not fit.
    """
    files, folders = _expand(ann_files, "annotation file"), _expand(roots, "image root")
    if len(folders) not in (1, len(files)):
        raise DatasetError(
            f"Got {spelled(len(files), 'annotation file')} and {spelled(len(folders), 'image root')}; expected one root"
            f" for all files or one per file.\n  files: {_listed(files)}\n  roots: {_listed(folders)}"
        )
    folders = folders if len(folders) == len(files) else folders * len(files)
    return list(zip(files, folders, strict=True))


def _expand(patterns, what):
    patterns = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    if not patterns:
        raise DatasetError(f"No {what} was given; expected at least one path or pattern.")
    paths, empty = [], []
    for pattern in patterns:
        # A name with brackets that exists is a name; sorted() because glob's order is the file system's.
        if not glob.has_magic(str(pattern)) or Path(pattern).exists():
            paths.append(Path(pattern))
        elif found := sorted(glob.glob(str(pattern), recursive=True)):
            paths.extend(Path(path) for path in found)
        else:
            empty.append(str(pattern))
    if empty:
        raise DatasetError(f"No {what} matches {', '.join(empty)}. Check the pattern and the folder it starts from.")
    return paths


def _listed(paths):
    return ", ".join(str(path) for path in paths)


def load_coco(path, findings):
    """Return the parsed file, or None after noting in `findings` why it is not a COCO instances file."""
    content = _read(path, findings)
    if content is None:
        return None
    try:
        document = parse_json(content)
    except JsonError as error:
        return findings.problem(str(error), whole=True)
    return document if _is_coco(document, findings) else None


def _read(path, findings):
    if path.is_dir():
        findings.problem(f"is a folder; expected a JSON file{_json_files_in(path)}", whole=True)
    elif not path.exists():
        near = [other.name for other in path.parent.glob("*.json")] if path.parent.is_dir() else []
        findings.problem(f"does not exist{did_you_mean(path.name, near)}", whole=True)
    else:
        try:
            content = path.read_bytes()
        except OSError as error:
            findings.problem(f"cannot be read: {error.strerror or error}", whole=True)
            return None
        if content.strip(b" \t\r\n\0\xef\xbb\xbf"):
            return content
        findings.problem("is empty; expected COCO instances JSON. Export or copy it again", whole=True)
    return None


def _json_files_in(folder):
    names = sorted(path.name for path in folder.glob("*.json"))
    return f", for example {folder / names[0]}" if names else ""


def _is_coco(document, findings):
    expected = 'not a COCO instances file: expected an object with the lists "images", "annotations", "categories"'
    if not isinstance(document, dict):
        findings.problem(f"{expected}, got a {type(document).__name__}", whole=True)
        return False
    missing = [key for key in _LISTS if not isinstance(document.get(key), list)]
    if not missing:
        return True
    keys = ", ".join(list(document)[:8]) or "none"
    findings.problem(f"{expected}; missing: {', '.join(missing)}; its keys: {keys}{_origin(document)}", whole=True)
    return False


def _origin(document):
    if "shapes" in document:
        return ". This looks like labelme: convert its folder with instseg import-data"
    if any(isinstance(value, dict) and "regions" in value for value in document.values()):
        return ". This looks like a VIA project: export it as COCO"
    return ""


def read_categories(document, findings):
    """Return {category id: name} in the order of the ids."""
    names = {}
    for entry in document["categories"]:
        category_id, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if type(category_id) is not int or not isinstance(name, str) or not name.strip():
            findings.problem('{n} category|categories lacks|lack an integer "id" or a "name"',
                             f"{entry!r:.80}", whole=True)
        elif category_id in names:
            findings.problem("{n} category id|ids occurs|occur twice", f"{category_id}", whole=True)
        elif name in names.values():
            findings.problem("{n} category name|names occurs|occur twice; merge or rename them", name, whole=True)
        else:
            names[category_id] = name
    if not document["categories"]:
        findings.problem('"categories" is empty; expected at least one {"id": …, "name": …}', whole=True)
    return dict(sorted(names.items()))
