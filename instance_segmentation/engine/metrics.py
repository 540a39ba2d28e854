"""COCO box and mask AP, per class, unrounded; the one evaluator for every kind of weights."""

import contextlib
import io
import json
from itertools import groupby
from pathlib import Path

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instance_segmentation.engine.mask_head import as_rles
from instance_segmentation.engine.matching import class_matches
from instance_segmentation.inference.tiles import merge
from instance_segmentation.prediction import Prediction

KINDS = ("bbox", "segm")
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR{}", "ARs", "ARm", "ARl")  # COCOeval.stats
MAX_DETS = 100  # COCO's


@METRICS.register_module()
class CocoSegmMetric(BaseMetric):
    """Collect predictions of the test loop and compute COCO metrics with pycocotools.

    Keys are `bbox/AP`, `segm/AP50`, `segm/AP/<class>`, …; values are plain floats in [0, 1]: NaN means there is no
    ground truth, 0.0 that nothing was found. mmdet's CocoMetric rounds to three decimals, returns nothing at all without
    predictions, and lets the mask's per-class values overwrite the box's.

    Args:
        ann_file: Normalised annotations (ids from 1, categories in class order).
        tiles: Normalised annotations of the tiles that the predictions are of, which are merged to predictions of the images
            of `ann_file`; None when these are not cut.
        max_dets: Detections per image that count, the best of each class.
        results_file: Where to write the predictions as COCO results JSON, or None.
        on_scored: As of `coco_metrics`.
        collect: `collect_device` and `collect_dir` of mmengine's BaseMetric, for several processes.
    """

    default_prefix = ""  # the keys have their own

    def __init__(self, ann_file, results_file=None, tiles=None, max_dets=MAX_DETS, on_scored=None, **collect):
        super().__init__(**collect)
        self.ann_file, self.results_file, self.max_dets, self.on_scored = ann_file, results_file, max_dets, on_scored
        self.tiles = json.loads(Path(tiles).read_text())["images"] if tiles else None

    def process(self, data_batch, data_samples):
        """Keep each image's predictions as COCO results (boxes x y w h in image pixels, compressed RLE)."""
        for sample in data_samples:
            pred = sample["pred_instances"]
            self.results.append(coco_results(sample["img_id"], pred["bboxes"].float().cpu().numpy(), pred["scores"],
                                             pred["labels"], as_rles(pred["masks"])))

    def compute_metrics(self, results):
        """Score all detections, and write them when asked to."""
        detections = [detection for image in results for detection in image]
        if self.tiles:
            detections = merge_results(detections, self.tiles)
        if self.results_file:
            Path(self.results_file).write_text(json.dumps(detections))
        return coco_metrics(self.ann_file, detections, self.max_dets, self.on_scored)


def _text(counts):
    return counts.decode() if isinstance(counts, bytes) else counts


def coco_results(image_id, boxes, scores, labels, rles):
    """One image's detections, boxes (N, 4) x1 y1 x2 y2 in its pixels, as COCO results."""
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    columns = zip(boxes_xywh.tolist(), scores.tolist(), labels.tolist(), rles, strict=True)
    return [dict(image_id=image_id, category_id=label + 1, bbox=box, score=score,
                 segmentation=dict(size=list(rle["size"]), counts=_text(rle["counts"])))
            for box, score, label, rle in columns]


def merge_results(detections, tiles):
    """COCO results of the images from those of their tiles.

    Args:
        detections: COCO results whose `image_id` is a tile's.
        tiles: The images of `coco.tiled`.
    """
    by_tile, merged = {tile["id"]: [] for tile in tiles}, []
    for item in detections:
        by_tile[item["image_id"]].append(item)
    for parent, group in groupby(tiles, key=lambda tile: tile["parent"]):
        group = list(group)
        found = merge([as_prediction(by_tile[tile["id"]]) for tile in group], [tile["tile"] for tile in group],
                      group[0]["parent_hw"])
        merged += coco_results(parent, found.boxes, found.scores, found.labels, found.rles)
    return merged


def as_prediction(results, classes=(), size_hw=()):
    """COCO results of one image, or its objects with a `score`, as a Prediction."""
    boxes = np.float32([item["bbox"] for item in results]).reshape(-1, 4)
    rles = [dict(item["segmentation"], counts=_text(item["segmentation"]["counts"]).encode()) for item in results]
    return Prediction(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
                      np.array([item["score"] for item in results]),
                      np.array([item["category_id"] - 1 for item in results], np.int64), rles, tuple(classes), tuple(size_hw))


def coco_metrics(ann_file, detections, max_dets=MAX_DETS, on_scored=None):
    """Compute box and mask metrics of COCO results.

    Args:
        ann_file: COCO annotations.
        detections: COCO results, each with `image_id`, `category_id`, `bbox`, `score` and an RLE `segmentation`.
        max_dets: Detections per image and class that count, 10 or more.
        on_scored: Called with the accumulated COCOeval of the boxes, then with that of the masks.

    Returns:
        Dict of plain floats in [0, 1], NaN where the class or size range has no ground truth.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        metrics = {}
        for kind in KINDS:
            evaluation = _evaluate(truth, _load(truth, detections, kind), kind, max_dets)
            metrics.update(_metrics(evaluation, kind, max_dets))
            if on_scored:
                on_scored(evaluation)
    return metrics


def segm_matches(ann_file, detections):
    """Which detections COCO counts as hits at mask IoU 0.5.

    Args:
        ann_file: COCO annotations.
        detections: As of `coco_metrics`.

    Returns:
        Per class, in the order of the categories: scores (N,), hits (N,) bool, number of objects. Detections that COCO ignores,
        because they lie on a crowd, are left out.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        evaluation = COCOeval(truth, _load(truth, detections, "segm"), "segm")
        evaluation.evaluate()
    return class_matches(evaluation)


def _load(truth, detections, kind):
    """COCO.loadRes without its failure on an empty list, and with the area of the kind that is scored."""
    found = COCO()
    found.dataset = dict(images=truth.dataset["images"], categories=truth.dataset["categories"])
    found.dataset["annotations"] = [dict(d, id=i, area=_area(d, kind), iscrowd=0) for i, d in enumerate(detections, 1)]
    found.createIndex()
    return found


def _area(detection, kind):
    if kind == "bbox":
        return detection["bbox"][2] * detection["bbox"][3]
    return int(coco_mask.area(detection["segmentation"]))  # one by one: a list of more than 255 fails with numpy 2


def _evaluate(truth, found, kind, max_dets):
    evaluation = COCOeval(truth, found, kind)
    evaluation.params.maxDets = [1, 10, max_dets]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _metrics(evaluation, kind, max_dets):
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes, all detections that count
    recall = evaluation.eval["recall"][:, :, 0, -1]  # IoU, class
    metrics = {f"{kind}/{name.format(max_dets)}": _defined(value) for name, value in zip(SUMMARY, evaluation.stats, strict=True)}
    metrics[f"{kind}/AP"] = _mean(precision)  # COCOeval's own is -1 unless max_dets is 100
    for index, category in enumerate(evaluation.cocoGt.loadCats(evaluation.params.catIds)):
        own = {"AP": precision[:, :, index], "AP50": precision[0, :, index], f"AR{max_dets}": recall[:, index]}
        metrics.update({f"{kind}/{suffix}/{category['name']}": _mean(values) for suffix, values in own.items()})
    return metrics


def _mean(values):
    """Mean of what is defined, NaN when nothing is."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _defined(value):
    """COCO's -1 (no ground truth) as NaN."""
    return float("nan") if value == -1 else float(value)
