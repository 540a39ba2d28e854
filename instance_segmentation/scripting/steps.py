"""What generated scripts call to train (see `creating`): cvtk's files and names around training and testing as everywhere."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from instance_segmentation.coco import read_annotations
from instance_segmentation.data.layouts import image_root
from instance_segmentation.errors import DatasetError, DownloadError, TemplateError
from instance_segmentation.evaluation import ANY_TEMPLATE, detect, load_any
from instance_segmentation.report import progress, say, write_metrics_json, write_text
from instance_segmentation.scripting.finding import write_found
from instance_segmentation.templates.catalogue import find_mmdet_config, find_template, list_templates
from instance_segmentation.templates.workdir import instantiate, open_workdir

SCORES = {"": "AP", "_50": "AP50", "_75": "AP75", "_s": "APs", "_m": "APm", "_l": "APl"}  # mmdet's suffixes, our names
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
    write_found(annotations, detections, found)
    stats = _beside(output_weights, ".test_stats.json")
    write_metrics_json(stats, mask_statistics(truth, found))
    say("Statistics", str(stats))
