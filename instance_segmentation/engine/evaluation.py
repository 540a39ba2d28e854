"""Run mmengine's test loop over normalised annotations with any model that has a `test_step`."""

import json
import os
import time

from mmengine.config import Config

from instance_segmentation.engine.config import drop_resize, set_input_size, set_tiles, test_loader
from instance_segmentation.engine.drawing import drawing_threshold
from instance_segmentation.engine.metrics import MAX_DETS
from instance_segmentation.engine.runner import FineTuneRunner
from instance_segmentation.errors import TemplateError


def run_test(model, cfg, annotations, folder, num_workers=None, drawings=None, tiles=None, max_dets=MAX_DETS, on_scored=None):
    """Evaluate a model.

    Args:
        model: An mmengine model with `dataset_meta["classes"]` and `input_size` (h, w), None when it resizes images itself. With
            another `resize_type` than the config's it must do so, too. If it
            has `stream`, several images are on the way at a time (see `PipelinedTestLoop`). Its `class_thresholds`, if it has
            some, say what is drawn.
        cfg: The work dir's Config, for the data pipeline.
        annotations: `coco.Annotations` in the model's class order.
        folder: An existing folder for temporary files.
        num_workers: Loader processes; the config's number when None.
        drawings: Folder for pictures with the detections, or None.
        tiles: The same annotations cut by `coco.tiled`, to detect in tiles; then there are no pictures.
        max_dets: Detections per image and class that count.
        on_scored: As of `coco_metrics`.

    Returns:
        Metrics (key → float in [0, 1]), seconds per image or tile of each `test_step` (with `stream`, of the first ones,
        which run alone), and all detections as COCO results.
    """
    cfg = Config(cfg.to_dict())
    fit_pipeline(cfg, model)
    truth, found = annotations.write(folder / "test.json"), folder / "results.json"
    score = dict(type="CocoSegmMetric", ann_file=str(truth), results_file=str(found), max_dets=max_dets, on_scored=on_scored)
    shown = truth
    if tiles:
        set_tiles(cfg, cfg.test_dataloader)
        shown = tiles.write(folder / "tiles.json")
        score["tiles"] = str(shown)
    hooks = [dict(type="ProgressHook")]
    if drawings:
        root = os.path.commonpath([os.path.dirname(image["file_name"]) for image in annotations.images])
        hooks.append(dict(type="DrawPredictionsHook", output=str(drawings), root=root, classes=annotations.classes,
                          threshold=drawing_threshold(model)))
    runner = FineTuneRunner(
        model=model, work_dir=str(folder), test_dataloader=test_loader(cfg, shown, annotations.classes, num_workers),
        test_cfg=dict(type="PipelinedTestLoop" if hasattr(model, "stream") else "TestLoop"),
        default_scope="mmdet", custom_hooks=hooks, default_hooks=dict(checkpoint=None),
        test_evaluator=score, visualizer=dict(type="Visualizer", vis_backends=[]), experiment_name=f"test_{time.monotonic_ns()}")
    seconds = time_steps(model)
    metrics = runner.test()
    return metrics, seconds, json.loads(found.read_text())


def fit_pipeline(cfg, model):
    """Make the test pipeline, in place, resize images as a model wants them, or leave that to the model.

    Weights may be of another template than the work dir, and want their images as they were trained: stretched, or with their
    aspect ratio and grey beside them.

    Raises:
        TemplateError: The pipeline resizes otherwise, and the model cannot do it itself.
    """
    kind, pad = cfg.get("resize_type", "standard"), cfg.get("pad_value", 0)
    own, own_pad = getattr(model, "resize_type", kind), getattr(model, "pad_value", pad)
    can_resize = model.input_size is None or getattr(model, "can_resize", False)
    if can_resize and (model.input_size is None or (own, own_pad) != (kind, pad) or any(side % 32 for side in model.input_size)):
        drop_resize(cfg)
        return
    if own != kind:
        raise TemplateError(f"model.py resizes images by resize_type '{kind}', but these weights were trained by '{own}': they "
                            "are of another template; evaluate them in a work dir of theirs (instseg new)")
    set_input_size(cfg, model.input_size)


def time_steps(model):
    """Make `model.test_step` note how long it took per image; returns the list it fills."""
    seconds, step = [], model.test_step

    def timed(data):
        began = time.perf_counter()
        outputs = step(data)
        seconds.append((time.perf_counter() - began) / max(len(outputs), 1))
        return outputs

    model.test_step = timed
    return seconds
