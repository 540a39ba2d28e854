"""Take a template's model.py and the `_base_` files it builds on along into the work dir, comments and all.

They are copied with rewritten `_base_` paths, not merged into one file: merging would execute the template's code, lose
its comments, and need mmengine in the base install (which brings matplotlib, and takes a second to write a config).
The run's own folder gets the merged config when training starts.
"""

import ast
from pathlib import Path

from instance_segmentation.errors import TemplateError

FOLDER = "_base_"


def config_files(config, root):
    """Collect a config and, recursively, its bases.

    Args:
        config: Path of model.py.
        root: Folder that no base may lie outside of, links resolved.

    Returns:
        Path relative to the work dir → contents as bytes: the config's own name, and `_base_/<name>.py` per base.

    Raises:
        TemplateError: A file is missing, outside `root`, not Python, or not in mmengine's `_base_` style.
    """
    files, origins = {}, {}
    _collect(Path(config), Path(root).resolve(), Path(config).name, files, origins)
    return files


def inside(path, root, named):
    """Resolve links and return the file, which must exist in `root`; `named` says in errors where its name stands."""
    if "\0" in str(path):
        raise TemplateError(f"{named!s:.80}: holds a character that no file name has")
    try:
        path = Path(path).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name that is too long, links that go round in circles
        why = getattr(error, "strerror", None) or "its links go round in circles"
        raise TemplateError(f"{named!s:.200}: cannot be a file ({why})") from error
    if not path.is_relative_to(Path(root).resolve()):
        raise TemplateError(f"{named}: leads to {path}, outside the template's root {root}; move the file inside")
    if not is_file:
        raise TemplateError(f"{named}: no such file: {path}")
    return path


def _collect(path, root, destination, files, origins):
    path = inside(path, root, path)
    origins[destination] = path
    source = path.read_bytes()
    edits = []
    for node in _base_names(path, source):
        base = inside(path.parent / node.value, root, f"{path}: _base_ '{node.value}'")
        # another template's model.py is named after its folder
        name = f"{base.parent.name}.py" if base.name == path.name else base.name
        target = f"{FOLDER}/{name}"
        if origins.setdefault(target, base) != base:
            raise TemplateError(f"{path}: two base files are named {name}: {origins[target]} and {base}; "
                                "rename one")
        edits.append((node, name if destination.startswith(FOLDER) else target))
        if target not in files:
            files[target] = b""  # bases that name each other end here; mmengine reports such a circle
            _collect(base, root, target, files, origins)
    files[destination] = _rewrite(source, edits)


def _base_names(path, source):
    """The string nodes of `_base_ = "…"` or `_base_ = ["…", …]`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two: an expression nested too deeply
        raise TemplateError(f"{path}: is not valid Python: {error or type(error).__name__}") from error
    names = []
    for statement in tree.body:
        if isinstance(statement, ast.With):
            raise TemplateError(f"{path}:{statement.lineno}: 'with read_base()' is not supported; "
                                'write _base_ = "file.py"')
        if isinstance(statement, ast.Assign) and "_base_" in [getattr(item, "id", "") for item in statement.targets]:
            value = statement.value
            names += value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
    for node in names:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno == node.end_lineno):
            raise TemplateError(f"{path}:{node.lineno}: got a computed _base_, expected file names in quotes")
    return names


def _rewrite(source, edits):
    """Replace string nodes in the source by other strings; columns of ast count bytes."""
    lines = source.splitlines(keepends=True)
    for node, text in sorted(edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True):
        line = lines[node.lineno - 1]
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        lines[node.lineno - 1] = line[:node.col_offset] + quoted.encode() + line[node.end_col_offset:]
    return b"".join(lines)
