"""Find templates: the packaged ones by name, any other by its path; and mmdet's own configurations."""

import difflib
import importlib.util
from pathlib import Path

from instance_segmentation.errors import MissingExtraError, TemplateError
from instance_segmentation.templates.schema import load_template

PACKAGE = Path(__file__).resolve().parents[1]
CUSTOM = "Custom Instance Segmentation"  # `problem` of the templates for own classes


def templates_root():
    """Folder `model_templates`: in an installed wheel inside the package, in a clone beside it.

    Raises:
        TemplateError: Neither exists.
    """
    candidates = (PACKAGE / "model_templates", PACKAGE.parent / "model_templates")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise TemplateError(f"the templates are missing: neither {candidates[0]} nor {candidates[1]} exists; install again")


def list_templates(root=None):
    """Read all templates under `root` (the packaged ones when None), those for own classes first, in the order of their paths.

    Raises:
        TemplateError: Any of them is wrong, or two have the same name.
    """
    root = Path(root or templates_root())
    templates, problems = [], []
    for path in sorted(root.rglob("template.yaml")):
        try:
            templates.append(load_template(path))
        except TemplateError as error:
            problems.append(str(error))
    names = [template.name for template in templates]
    problems += [f"{root}: two templates are named '{name}'" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise TemplateError("\n".join(problems))
    return sorted(templates, key=lambda template: template.problem != CUSTOM)


def find_template(name_or_path, root=None):
    """Read a template given its name among those under `root` (see `list_templates`), its template.yaml, or its folder.

    Raises:
        TemplateError: There is none; the message offers the nearest name and the list.
    """
    path = Path(name_or_path)
    file = path / "template.yaml" if path.is_dir() else path
    if file.name == "template.yaml" and file.is_file():
        return load_template(file)
    templates = {template.name: template for template in list_templates(root)}
    if str(name_or_path) in templates:
        return templates[str(name_or_path)]
    name = path.parent.name if path.name == "template.yaml" else path.name
    near = difflib.get_close_matches(name, templates, n=1, cutoff=0.4)
    is_path = len(path.parts) > 1 or path.suffix == ".yaml"
    what = f"{path}: no such template.yaml" if is_path else f"no template '{path}'"
    hint = f"; did you mean {near[0]}?" if near else ""
    raise TemplateError(f"{what}{hint}\nThere are:\n  " + "\n  ".join(templates) +
                        "\n`instseg ls` shows what each is good for; "
                        "the path of a template.yaml is taken too.")


def find_mmdet_config(name):
    """File of one of the configurations that mmdet ships.

    Raises:
        MissingExtraError: mmdet is not installed.
        TemplateError: It has none of this name; the message offers the nearest.
    """
    package = importlib.util.find_spec("mmdet")
    if package is None:
        raise MissingExtraError("train", f"'{name}', a configuration of mmdet's,")
    files = {path.stem: path for path in (Path(package.origin).parent / ".mim" / "configs").glob("*/*.py")}
    if name not in files:
        near = ", ".join(difflib.get_close_matches(name, files)) or "see `mim search mmdet`"
        raise TemplateError(f"neither a template (`instseg ls`) nor a configuration of mmdet's is called '{name}'; near: {near}")
    return files[name]
