"""What an installed package holds, promises, and does not import."""

import ast
import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import instance_segmentation

HEAVY = ("torch", "mmdet", "mmcv", "mmengine", "openvino", "cv2", "matplotlib", "numpy", "nncf")
VERBS = sorted(path.stem for path in Path(instance_segmentation.__path__[0], "cli").glob("[!_]*.py")
               if "def parser(" in path.read_text(encoding="utf-8"))


def imported_by(code):
    """Heavy modules in `sys.modules` after running `code` in a fresh interpreter."""
    report = f"import sys; print('IMPORTED', *[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-W", "error", "-c", f"{code}\n{report}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.rsplit("IMPORTED", 1)[1].split()


def test_importing_the_package_imports_nothing_heavy():
    assert imported_by("import instance_segmentation") == []


def test_verbs_are_found():
    assert {"train", "eval", "quickstart"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb):
    code = f"from instance_segmentation.cli.{verb} import parser; parser().format_help()"
    assert imported_by(code) == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_flag_with_an_explanation(verb):
    parser = importlib.import_module(f"instance_segmentation.cli.{verb}").parser()
    assert parser.description
    assert [action.dest for action in parser._actions if not action.help] == []


def test_nothing_is_printed_at_import():
    code = "import instance_segmentation, instance_segmentation.cli"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("", "")


def extras(repo):
    """The lists of setup.py, read without running it."""
    tree = ast.parse((repo / "setup.py").read_text(encoding="utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return ast.literal_eval(values["BASE"]), ast.literal_eval(values["EXTRAS"])


def test_base_install_needs_no_torch(repo):
    base, extra = extras(repo)
    names = {re.split(r"[<>=]", line)[0] for line in base}
    assert names.isdisjoint({"torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "matplotlib", "nncf"})
    assert set(extra) == {"train", "int8", "onnx", "import", "ovms", "tune", "dev"}


def test_init_venv_and_metadata_agree_on_versions(repo):
    _, extra = extras(repo)
    torch, mmcv = re.search(r"^TORCH=(\S+) MMCV=(\S+)$", (repo / "init_venv.sh").read_text(), re.MULTILINE).groups()
    assert f"onedl-mmcv=={mmcv}" in extra["train"]
    assert f"torch=={torch.rsplit('.', 1)[0]}.*" in extra["train"]


@pytest.fixture(scope="session")
def wheel(repo, tmp_path_factory):
    """The wheel of this tree, built from a copy so that nothing is left in the repository."""
    import shutil
    source, target = tmp_path_factory.mktemp("source") / "repo", tmp_path_factory.mktemp("wheel")
    parts = ["instance_segmentation", "model_templates", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE",
             "README.md", "CHANGELOG.md"]
    source.mkdir()
    for part in filter(lambda name: (repo / name).exists(), parts):
        copy = shutil.copytree if (repo / part).is_dir() else shutil.copy
        copy(repo / part, source / part)
    run = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)],
                         capture_output=True, text=True)  # an sdist first, and the wheel from it
    assert run.returncode == 0, run.stdout + run.stderr
    return next(target.glob("*.whl"))


def test_wheel_holds_what_the_tree_holds(repo, wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    kept = {".py", ".yaml", ".md", ".html"}
    code = {path.relative_to(repo).as_posix() for path in (repo / "instance_segmentation").rglob("*")
            if path.suffix in kept}
    templates = {f"instance_segmentation/{path.relative_to(repo).as_posix()}"
                 for path in (repo / "model_templates").rglob("*") if path.suffix in kept}
    assert sum(name.endswith("/template.yaml") for name in templates) >= 2
    assert names == code | templates


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    texts = {name.rsplit("/", 1)[1]: archive.read(name).decode() for name in archive.namelist()
             if re.search(r"dist-info/(METADATA|entry_points\.txt)$", name)}
    assert "instseg = instance_segmentation.cli.main:main" in texts["entry_points.txt"]
    assert f"Version: {instance_segmentation.__version__}" in texts["METADATA"]
    assert "License: Apache-2.0" in texts["METADATA"] or "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "Requires-Python: >=3.10" in texts["METADATA"]
