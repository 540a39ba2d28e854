"""What a result was made with: command, versions, machine, and data down to every image's bytes. Needs no torch."""

import contextlib
import hashlib
import os
import platform
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from instance_segmentation.coco.files import pair_files
from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import read_json
from instance_segmentation.report import file_record

PACKAGES = ("instance-segmentation", "torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "openvino", "nncf",
            "onnxruntime", "numpy", "opencv-python-headless", "pycocotools")
ABSENT = "absent"  # in place of the digest of an image that is not there


class _Image(msgspec.Struct):
    file_name: str


class _Images(msgspec.Struct):
    images: list[_Image]


def command():
    """The command line that started this process, to be pasted into a shell."""
    return shlex.join(sys.orig_argv)


def versions():
    """Python's version, and those of PACKAGES that are installed: name → version."""
    found = dict(python=platform.python_version())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine():
    """Processor, number of its cores that this process may use, GPU if torch is loaded and sees one, operating system."""
    torch = sys.modules.get("torch")
    gpu = dict(gpu=torch.cuda.get_device_name()) if torch and torch.cuda.is_available() else {}
    return dict(cpu=_processor(), cores=len(os.sched_getaffinity(0)), **gpu, system=platform.platform(terse=True))


def _processor():
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def data_records(ann_files, roots, progress=None):
    """Describe COCO files and the images they list.

    Args:
        ann_files, roots: As of `read_annotations`.
        progress: Called as progress(done, total) for each image read of a file.

    Returns:
        For each file a `file_record` with `images`, their number, and `images_sha256`, a digest over names and contents, which
        does not depend on where the images lie.

    Raises:
        DatasetError: A file is missing or lists no images.
    """
    return [_data_record(file, root, progress) for file, root in pair_files(ann_files, roots)]


def _data_record(file, root, progress):
    names = _image_names(file)
    digest = hashlib.sha256()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        contents = pool.map(_digest, (root / name for name in names))
        for done, (name, content) in enumerate(zip(names, contents, strict=True), 1):
            digest.update(f"{name}\0{content}\n".encode())
            if progress:
                progress(done, len(names))
    return file_record(file) | dict(images=len(names), images_sha256=digest.hexdigest())


def _image_names(file):
    """Return the image names of a COCO file, sorted."""
    # the quick way: nothing but the names is kept in memory
    with contextlib.suppress(msgspec.DecodeError, OSError, RecursionError):
        return sorted(image.file_name for image in msgspec.json.decode(file.read_bytes(), type=_Images).images)
    document = read_json(file, DatasetError)
    images = document.get("images") if isinstance(document, dict) else None
    entries = images if isinstance(images, list) else [None]
    names = [image.get("file_name") if isinstance(image, dict) else None for image in entries]
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(f'{file}: not a COCO file: it has no list "images" with a "file_name" in each entry')
    return sorted(names)


def _digest(path):
    try:
        there = path.is_file()
    except OSError:  # a name longer than any file's
        there = False
    return hashlib.sha256(path.read_bytes()).hexdigest() if there else ABSENT
