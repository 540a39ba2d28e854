"""What generated scripts call to find objects (see `creating`), with any network that mmdet can run: pictures and a COCO file."""

import os
import tempfile
from pathlib import Path

from instance_segmentation.coco import Annotations, read_annotations
from instance_segmentation.coco.findings import spelled
from instance_segmentation.coco.images import oriented_size
from instance_segmentation.data.layouts import image_root
from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.evaluation import ANY_TEMPLATE, load_any
from instance_segmentation.report import say
from instance_segmentation.templates.catalogue import find_template

# A template for each way in which images get into a network; the names are Model API's
READ_LIKE = {"standard": ANY_TEMPLATE, "fit_to_window": "rtmdet-ins_tiny-640x640"}


def find_images(data):
    """Image files of a COCO file, a folder, an image, or a text file with a path per line (or in the first of its columns).

    Raises:
        MediaError: There are none.
    """
    from instance_segmentation.inference.sources import SUFFIXES
    path = Path(data)
    if path.suffix == ".json":
        return [Path(image["file_name"]) for image in read_annotations([path], [image_root(path)]).images]
    if path.suffix == ".txt" and path.is_file():
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        files = [Path(line.split("\t")[0].strip()) for line in lines if line.strip()]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    else:
        files = [path]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise MediaError(f"--data {data}: " + (f"there is no {missing[0]}" if missing else "holds no images"))
    return files


def find_objects(data, model_weights, output, *, classes, batch_size=1, num_workers=0):
    """Find objects in images; writes each with what was found drawn, and instances.json, a COCO file of it all.

    Args:
        data: As of `find_images`.
        model_weights: .pth, or an exported .xml or .onnx.
        output: Folder to write to.
        classes: Class names that the model is expected to have.
        batch_size, num_workers: Images at a time, which exported models decide themselves, and processes that read them.

    Raises:
        WeightsError: The model has other classes.
        MediaError: An image cannot be read.
    """
    model = load_any(Path(model_weights))
    names = model.dataset_meta["classes"]
    if list(names) != list(classes):
        raise WeightsError(f"--label names {', '.join(classes)}; {model_weights} has learnt {', '.join(names)}")
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.drawing import drawing_threshold
    from instance_segmentation.engine.evaluation import run_test
    resize = getattr(model, "info", model).resize_type
    if resize not in READ_LIKE:
        raise WeightsError(f"{model_weights}: its images are resized by '{resize}', which only instseg predict can do")
    template = find_template(READ_LIKE[resize])
    cfg = read_config(template.path / template.config)
    cfg.test_dataloader.update(batch_size=1 if hasattr(model, "stream") else batch_size, num_workers=num_workers)
    annotations = Annotations(tuple(names), [_entry(*item) for item in enumerate(find_images(data), 1)], [], (), None)
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        _, _, detections = run_test(model, cfg, annotations, Path(folder), drawings=output)
    write_found(annotations, detections, Path(output) / "instances.json")
    say("Found", f"{told(detections, drawing_threshold(model))} on {spelled(len(annotations.images), 'image')}; pictures and "
        f"instances.json in {output}")


def told(detections, threshold):
    """How many objects the pictures show, and how many instances.json has: they differ when a network is unsure.

    Args:
        detections: COCO results; `category_id` counts from 1.
        threshold: Lowest score that is drawn, a number or one per class.
    """
    lowest = threshold if isinstance(threshold, (int, float)) else None
    shown = sum(item["score"] >= (threshold[item["category_id"] - 1] if lowest is None else lowest) for item in detections)
    from_score = "its class's own score" if lowest is None else f"score {lowest:g}"
    return f"{spelled(shown, 'object')} from {from_score} drawn, {len(detections)} with all that are less sure"


def _entry(number, path):
    """An image as `coco.Annotations` lists it."""
    from PIL import Image
    try:
        with Image.open(path) as picture:
            width, height = oriented_size(picture)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read as an image; mend it or take it out of --data") from error
    return dict(id=number, file_name=os.path.abspath(path), width=width, height=height, source_id=number)


def write_found(annotations, detections, path):
    """Write detections as a COCO file with the images and classes of `annotations`, a `coco.Annotations`."""
    from pycocotools import mask as coco_mask
    found = [dict(item, id=number, iscrowd=0, area=float(coco_mask.area(item["segmentation"])))
             for number, item in enumerate(detections, 1)]
    Annotations(annotations.classes, annotations.images, found, (), None).write(path)
