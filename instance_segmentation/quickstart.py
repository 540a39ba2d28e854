"""From nothing to a validated OpenVINO model: sample data or the user's own, and every verb once, in order."""

import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from instance_segmentation.errors import DownloadError, MissingExtraError, TemplateError
from instance_segmentation.report import console, number, table

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
STEPS = 7
PACKAGES = {"torch": "torch", "mmcv": "onedl-mmcv", "mmdet": "onedl-mmdetection", "openvino": "openvino"}
MARK = ".quickstart"  # in the output folder: made by us, so a second run may replace it
SAMPLE = {"train": 60, "val": 20, "size_hw": (320, 320), "seed": 0}
# From random weights the sample data set is learnt within minutes on two cores: at 192 pixels and one training size, with
# fewer proposals, beside the template's own recipe for random weights; what was tried is in benchmarks/README.md.
SAMPLE_TRAINING = {"input_size": (192, 192), "epochs": 6, "batch_size": 4, "seed": 0}
FROM_RANDOM = {
    "param_scheduler.0.end": 50,
    "model.train_cfg.rpn_proposal.nms_pre": 500,
    "model.train_cfg.rpn_proposal.max_per_img": 200,
    "model.train_cfg.rcnn.sampler.num": 128,
    "train_cfg.val_interval": 2,
}


def quickstart(output, *, data=None, template=TEMPLATE, input_size=None, epochs=None, batch_size=None,
               load_snapshot=True):
    """Make or find data, instantiate, fine-tune, evaluate, export, evaluate the IR, draw, compare.

    Args:
        output: Folder for everything this writes.
        data: The user's COCO folder; None writes the sample data set.
        template: Name or path of a template.
        input_size: (height, width) in pixels; None is the template's, or 192 for the sample data set.
        epochs: None is the template's, or 6 for the sample data set.
        batch_size: None is the template's.
        load_snapshot: Try to start from the template's published weights.

    Returns:
        Path of the exported model.xml.
    """
    from instance_segmentation import api
    started, output = time.monotonic(), Path(output).resolve()
    _step(1, "Environment", environment())
    again = _claim(output)
    splits = _find_data(data, output)
    work, weights = _instantiate(api, template, output / "work", load_snapshot, again)
    _step(4, "Fine-tune", f"{template} on {'your data' if data else 'the sample data set'}")
    defaults = {} if data or weights else SAMPLE_TRAINING
    size = input_size or defaults.get("input_size")
    trained = api.train(
        work, train_ann_files=[splits.train_json], train_data_roots=[splits.train_root],
        val_ann_files=[splits.val_json], val_data_roots=[splits.val_root], load_weights=weights,
        input_size=size, epochs=epochs or defaults.get("epochs"),
        batch_size=batch_size or defaults.get("batch_size"), seed=defaults.get("seed"),
        cfg_options=None if weights or data else _from_random(size))
    checkpoint = trained.best or trained.latest
    test = {"test_ann_files": [splits.val_json], "test_data_roots": [splits.val_root]}
    _step(5, "Evaluate", f"the checkpoint, {_short(checkpoint)}")
    before = api.evaluate(work, load_weights=checkpoint, save_metrics_to=work / "metrics_checkpoint.yaml", **test)
    _step(6, "Export", "to OpenVINO IR, and compare it with the checkpoint image by image")
    api.export(work, load_weights=checkpoint, save_model_to=work / "export", **test)
    ir, pictures = work / "export" / "model.xml", work / "pictures"
    _step(7, "Evaluate", "the IR: same images, same evaluator")
    after = api.evaluate(work, load_weights=ir, save_metrics_to=work / "metrics.yaml", save_output_to=pictures, **test)
    compare(before, after, checkpoint, ir)
    _finish(pictures, ir, started)
    return ir


def environment():
    """One line: where Python's packages are, and the versions that matter.

    Raises:
        MissingExtraError: Training packages are absent.
    """
    try:
        versions = {name: version(package) for name, package in PACKAGES.items()}
    except PackageNotFoundError as error:
        raise MissingExtraError("train", "The quickstart") from error
    return f"{_short(sys.prefix)} ({', '.join(f'{name} {number}' for name, number in versions.items())})"


def _from_random(size_hw):
    """Config values for the sample data set without a snapshot; one training size, because each new one costs set-up."""
    return {**FROM_RANDOM, "train_dataloader.dataset.dataset.pipeline.2.scales": [tuple(size_hw[::-1])]}


def _claim(output):
    """Make the output folder ours; returns whether an earlier run of the quickstart made it.

    Raises:
        TemplateError: It holds something else.
    """
    mark = output / MARK
    if output.exists() and not mark.is_file() and (not output.is_dir() or any(output.iterdir())):
        raise TemplateError(f"--output {output} exists and was not made by the quickstart; nothing was changed. "
                            "Name another folder.")
    again = mark.is_file()
    output.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return again


def _find_data(data, output):
    from instance_segmentation.data.layouts import Splits, find_splits
    folder = output / "data"
    if data:
        splits = find_splits(data, split_into=folder)
        _step(2, "Data", f"{_short(Path(data).resolve())}: {splits.found}")
        return splits
    from instance_segmentation.data.sample import write_sample_dataset
    write_sample_dataset(folder, **SAMPLE)
    _step(2, "Sample data", f"{SAMPLE['train']} + {SAMPLE['val']} images, drawn by code: {_short(folder)}")
    return Splits(folder / "train.json", folder / "train", folder / "val.json", folder / "val", "")


def _instantiate(api, template, work, load_snapshot, again):
    """Make the work dir; returns it and the weights to start from, None for random ones."""
    _step(3, "Template", f"{template} → {_short(work)}")
    try:
        work = api.instantiate(template, work, load_snapshot=load_snapshot, force=again)
    except DownloadError as error:
        reason = str(error).strip().splitlines()[0].split(": ", 1)[-1].rstrip(".")  # the address comes first
        _note(f"The published snapshot could not be downloaded ({reason}): starting from random weights.")
        work = api.instantiate(template, work, load_snapshot=False, force=again)
    snapshot = Path(work) / "snapshot.pth"
    return Path(work), snapshot if load_snapshot and snapshot.is_file() else None


def compare(before, after, checkpoint, ir):
    """Print the table this is all for: the checkpoint beside the IR.

    Args:
        before, after: EvaluationResult of the checkpoint and of the IR, on the same images.
        checkpoint, ir: Their files.
    """
    console().print()
    faster = f"{before.ms_per_image / after.ms_per_image:.1f}x faster"
    change = f"ΔAP {after.metrics['segm/AP'] - before.metrics['segm/AP']:+.4f}"
    rows = [_row("checkpoint", before, [checkpoint], "", ""),
            _row("IR FP32", after, [ir, ir.with_suffix(".bin")], faster, change)]
    table("", ("", "segm AP", "AP50", "bbox AP", "ms/image", "size", "", ""), rows)


def _row(name, result, files, *remarks):
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    metrics = [number(result.metrics[key]) for key in ("segm/AP", "segm/AP50", "bbox/AP")]
    return (name, *metrics, f"{result.ms_per_image:.0f}", f"{size_mb:.1f} MB", *remarks)


def _finish(pictures, ir, started):
    from instance_segmentation.inference.contact_sheet import write_contact_sheet
    sheet = pictures / "contact_sheet.png"
    files = sorted(path for path in pictures.rglob("*") if path.suffix in {".jpg", ".png"} and path != sheet)
    write_contact_sheet(files[:16], sheet)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console().print()
    _labelled("Pictures", _short(sheet))
    _labelled("Model", f"{_short(ir)}, with model.bin and labels.txt beside it")
    _labelled("Next", "your own images: tools/quickstart.sh --data FOLDER, or step by step as in README.md")
    _labelled("Took", f"{minutes}:{seconds:02}")


def _short(path):
    """A path as the user would type it: relative when it lies below the current folder."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _step(index, title, text):
    console().print(f"\\[{index}/{STEPS}] [bold]{title:<18}[/]", end=" ")
    console().print(text, markup=False)


def _note(text):
    console().print(f"      {text}", markup=False)


def _labelled(title, text):
    console().print(f"[bold]{title:<10}[/]", end=" ")
    console().print(text, markup=False)
