"""Models of the Open Model Zoo that the demo runs: which there are, and how they get here."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml

from instance_segmentation.errors import DownloadError
from instance_segmentation.templates.catalogue import templates_root
from instance_segmentation.templates.weights import fetch

PRECISIONS = ("FP32", "FP16")


@dataclass(frozen=True)
class ZooFile:
    """A file of a model: `name` below the model's folder, URL, size in bytes, sha256 or sha384."""

    name: str
    source: str
    size: int
    digest: str


@dataclass(frozen=True)
class ZooModel:
    """A model and its files, of all precisions."""

    name: str
    good_for: str
    licence: str
    files: tuple

    def of_precision(self, precision):
        """The files that are in a folder of this precision, or in none."""
        return [file for file in self.files if "/" not in file.name or file.name.startswith(f"{precision}/")]


def zoo_models(path=None):
    """Read `open_model_zoo.yaml`: name → ZooModel."""
    content = yaml.safe_load((path or templates_root() / "open_model_zoo.yaml").read_text(encoding="utf-8"))
    return {name: ZooModel(name, item["good_for"], item["licence"], tuple(
        ZooFile(file, item["source"] + file, size, digest) for file, size, digest in item["files"]))
        for name, item in content.items()}


def read_list(path):
    """The names in a `models.lst`: one a line, `#` begins a comment.

    Raises:
        DownloadError: It cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DownloadError(f"--list {path}: cannot be read as a text file ({error})") from error
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def choose_models(names, path=None):
    """The ZooModels of these names.

    Raises:
        DownloadError: There is no such model; the message lists them.
    """
    models = zoo_models(path)
    for name in names:
        if name not in models:
            near = difflib.get_close_matches(name, models, n=1)
            raise DownloadError(f"no model '{name}'" + (f"; did you mean {near[0]}?" if near else "") + "\nThere are:\n  "
                                + "\n  ".join(models))
    return [models[name] for name in names]


def download(model, output, *, precision="FP16", offline=False, progress=None):
    """Fetch the files of a model, each whole and verified, by way of the cache.

    Args:
        model: A ZooModel.
        output: Folder; the files go to `NAME/PRECISION/` in it.
        precision: One of PRECISIONS.
        offline: Use only the cache.
        progress: Called as progress(bytes so far, size) while a file is downloaded.

    Returns:
        The paths of the files.

    Raises:
        DownloadError: A file cannot be had; those before it are there.
    """
    paths = []
    for file in model.of_precision(precision):
        paths.append(Path(output) / model.name / file.name)
        fetch(file.source, paths[-1], size=file.size, sha256=file.digest, offline=offline, progress=progress)
    return paths
