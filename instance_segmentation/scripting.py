"""What the scripts call that `instseg create` writes: the files and names of cvtk around training and testing as everywhere."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from instance_segmentation.coco import Annotations, read_annotations
from instance_segmentation.coco.images import oriented_size
from instance_segmentation.errors import DatasetError, DownloadError, MediaError, TemplateError, WeightsError
from instance_segmentation.evaluation import ANY_TEMPLATE, detect, load_any
from instance_segmentation.layouts import image_root
from instance_segmentation.report import progress, say, write_metrics_json, write_text
from instance_segmentation.templates.catalogue import find_mmdet_config, find_template, list_templates
from instance_segmentation.templates.workdir import instantiate, open_workdir

SCORES = {"": "AP", "_50": "AP50", "_75": "AP75", "_s": "APs", "_m": "APm", "_l": "APl"}  # mmdet's suffixes, our names
# A template for each way in which images get into a network; the names are Model API's
READ_LIKE = {"standard": ANY_TEMPLATE, "fit_to_window": "rtmdet-ins_tiny-640x640"}
OTHERS = "Start from random weights with --weights none, or from a file of yours with --weights FILE."


@dataclass(frozen=True)
class Workspace:
    """The work dir X/ of X.pth, and the checkpoint to start from, None for random weights."""

    path: Path
    weights: Path | None


def read_label(path):
    """Class names of a text file, one per line.

    Raises:
        DatasetError: There is no such file, or no name in it.
    """
    if not Path(path).is_file():
        raise DatasetError(f"--label {path}: no such file; expected a text file with a class name per line")
    names = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not names:
        raise DatasetError(f"--label {path}: is empty; expected a class name per line")
    return names


def make_workspace(model, output_weights, weights="pretrained"):
    """Make the work dir of a script's output, for a template or for one of mmdet's configurations.

    Args:
        model: Name or path of a template, or name of one of mmdet's configurations.
        output_weights: X.pth; the work dir is X, and may be there already.
        weights: `pretrained` for those published with the model, `none` for random ones, or a checkpoint.

    Returns:
        A Workspace.

    Raises:
        TemplateError: The model is unknown, or `output_weights` has no suffix.
        DownloadError: The published weights cannot be had; the message says how to go on.
    """
    folder = Path(output_weights).with_suffix("")
    if folder == Path(output_weights):
        raise TemplateError(f"--output_weights {output_weights}: expected a name ending in .pth")
    pretrained = weights == "pretrained"
    own = None if pretrained or weights == "none" else Path(weights)
    try:
        if is_template(model):
            path = instantiate(model, folder, load_snapshot=pretrained, force=folder.exists())
            return Workspace(path, open_workdir(path).snapshot if pretrained else own)
        config = find_mmdet_config(model)
        from instance_segmentation.engine.mmdet_configs import fetch_mmdet_weights
        own = fetch_mmdet_weights(config) if pretrained else own
        with tempfile.TemporaryDirectory(prefix="instseg-") as template:
            return Workspace(instantiate(_write_template(config, Path(template)), folder, force=folder.exists()), own)
    except DownloadError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DownloadError(f"No published weights of {model}: {reason}. {OTHERS}") from error


def is_template(model):
    """Whether a model is a template's name or path, not the name of one of mmdet's configurations."""
    return Path(model).name == "template.yaml" or Path(model).is_dir() or model in {item.name for item in list_templates()}


def _write_template(config, folder):
    """Write model.py and template.yaml for the file of one of mmdet's configurations; returns the folder."""
    from instance_segmentation.engine import register
    register("Training")
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.mmdet_configs import adopt
    usual = find_template(ANY_TEMPLATE)
    cfg = adopt(read_config(config), read_config(usual.path / usual.config))
    cfg.dump(folder / "model.py")
    basic = dict(batch_size=cfg.train_dataloader.batch_size, base_learning_rate=cfg.optim_wrapper.optimizer.lr, epochs=12)
    content = usual.model_dump() | dict(
        name=config.stem, summary=f"mmdet's configuration {config.stem}, with the data loading and schedule of this tool.",
        good_for="comparing", input_size=list(cfg.input_size), dependencies=[], initial_weights=None, config="model.py",
        hyper_parameters=dict(basic=basic), metrics=[metric.model_dump() | dict(value=None) for metric in usual.metrics])
    (folder / "template.yaml").write_text(yaml.safe_dump(content))
    return folder


def save_weights(run, output_weights):
    """Write X.pth, the best epoch's weights without the optimizer's state, X.py, its configuration, and X.dl.txt, its classes.

    Args:
        run: The TrainResult.
        output_weights: X.pth.
    """
    import torch

    from instance_segmentation.engine.checkpoint import classes_of, read_checkpoint
    from instance_segmentation.writing import replacing
    checkpoint = read_checkpoint(run.best or run.latest)
    with replacing(output_weights) as temporary:
        torch.save({key: checkpoint[key] for key in ("meta", "state_dict")}, temporary)
    write_text(_beside(output_weights, ".py"), (run.latest.parent / "config.py").read_text())
    write_text(_beside(output_weights, ".dl.txt"), "\n".join(classes_of(checkpoint)) + "\n")
    say("Weights", str(output_weights))


def _beside(output_weights, suffix):
    return Path(output_weights).with_suffix(suffix)


def write_train_stats(run, output_weights):
    """Write X.train_stats.train.txt and X.train_stats.valid.txt, tab-separated with a line per epoch, and a picture of each.

    Args:
        run: The TrainResult.
        output_weights: X.pth.
    """
    lines = [json.loads(line) for line in (run.latest.parent / "scalars.json").read_text().splitlines()]
    steps = {line["epoch"]: line for line in lines if "loss" in line}  # the last of each epoch, a mean of the last 20 steps
    losses = [key for key in next(iter(steps.values())) if key == "acc" or "loss" in key]
    _write_table(_beside(output_weights, ".train_stats.train.txt"), ["epoch", "lr", "data_time", *losses, "time", "memory"],
                 list(steps.values()))
    scores = [_as_mmdet_names(line) for line in lines if "segm/AP" in line]
    _write_table(_beside(output_weights, ".train_stats.valid.txt"), list(scores[0]), scores)


def _as_mmdet_names(line):
    """A validation's scores as mmdet's CocoMetric calls them; -1 where there is nothing to find."""
    scores = {f"coco/{kind}_mAP{suffix}": line[f"{kind}/{name}"] for kind in ("bbox", "segm") for suffix, name in SCORES.items()}
    return {name: -1.0 if value != value else value for name, value in scores.items()} | {
        name: line[name] for name in ("data_time", "time", "step")}


def _write_table(path, columns, rows):
    """Write columns, `nan` where a row has none (`memory` is a GPU's), and draw losses and overall scores over the epochs."""
    from instance_segmentation.plots import over_epochs
    cells = [columns, *([str(row.get(column, "nan")) for column in columns] for row in rows)]
    write_text(path, "".join("\t".join(line) + "\n" for line in cells))
    epochs = [row["epoch" if "epoch" in columns else "step"] for row in rows]
    shown = [name for name in columns if "loss" in name or name.endswith(("mAP", "mAP_50"))]
    over_epochs(epochs, {name: [row[name] for row in rows] for name in shown}, path.with_suffix(".png"))
    say("Statistics", str(path))


def write_test_stats(test, output_weights, workspace):
    """Score X.pth; writes the detections as X/test_outputs.coco.json, and AP and AR of their masks as X.test_stats.json.

    Args:
        test: COCO file.
        output_weights: X.pth.
        workspace: The Workspace.
    """
    from instance_segmentation.engine.config import read_config
    model = load_any(Path(output_weights))
    classes = tuple(model.dataset_meta["classes"])
    with progress("checking images") as checked:
        annotations = read_annotations([test], [image_root(test)], classes=classes, all_classes=False, progress=checked)
    _, detections = detect(model, read_config(open_workdir(workspace.path).config), annotations)
    from instance_segmentation.engine.mask_statistics import mask_statistics
    truth, found = annotations.write(workspace.path / "test.json"), workspace.path / "test_outputs.coco.json"
    _write_found(annotations, detections, found)
    stats = _beside(output_weights, ".test_stats.json")
    write_metrics_json(stats, mask_statistics(truth, found))
    say("Statistics", str(stats))


def _write_found(annotations, detections, path):
    """Write detections as a COCO file with the images and classes of `annotations`."""
    from pycocotools import mask as coco_mask
    found = [dict(item, id=number, iscrowd=0, area=float(coco_mask.area(item["segmentation"])))
             for number, item in enumerate(detections, 1)]
    Annotations(annotations.classes, annotations.images, found, (), None).write(path)


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
    _write_found(annotations, detections, Path(output) / "instances.json")
    say("Found", f"{len(detections)} objects on {len(annotations.images)} images; pictures and instances.json in {output}")


def _entry(number, path):
    """An image as `coco.Annotations` lists it."""
    from PIL import Image
    try:
        with Image.open(path) as picture:
            width, height = oriented_size(picture)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read as an image; mend it or take it out of --data") from error
    return dict(id=number, file_name=os.path.abspath(path), width=width, height=height, source_id=number)
