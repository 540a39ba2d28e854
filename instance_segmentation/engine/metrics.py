"""COCO box and mask AP, per class, unrounded; the one evaluator for every kind of weights."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KINDS = ("bbox", "segm")
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")  # COCOeval.stats


@METRICS.register_module()
class CocoSegmMetric(BaseMetric):
    """Collect predictions of the test loop and compute COCO metrics with pycocotools.

    Keys are `bbox/AP`, `segm/AP50`, `segm/AP/<class>`, …; values are plain floats in [0, 1]: NaN means there is no
    ground truth, 0.0 that nothing was found. mmdet's CocoMetric rounds to three decimals, returns nothing at all without
    predictions, and lets the mask's per-class values overwrite the box's.

    Args:
        ann_file: Normalised annotations (ids from 1, categories in class order).
        results_file: Where to write the predictions as COCO results JSON, or None.
        collect: `collect_device` and `collect_dir` of mmengine's BaseMetric, for several processes.
    """

    default_prefix = ""  # the keys have their own

    def __init__(self, ann_file, results_file=None, **collect):
        super().__init__(**collect)
        self.ann_file, self.results_file = ann_file, results_file

    def process(self, data_batch, data_samples):
        """Keep each image's predictions as COCO results (boxes x y w h in image pixels, compressed RLE)."""
        for sample in data_samples:
            pred = sample["pred_instances"]
            boxes = pred["bboxes"].float().cpu().numpy()
            boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
            columns = zip(boxes_xywh, pred["scores"].tolist(), pred["labels"].tolist(), pred["masks"], strict=True)
            self.results.append([
                dict(image_id=sample["img_id"], category_id=label + 1, bbox=box.tolist(), score=score,
                     segmentation=dict(size=list(rle["size"]), counts=_text(rle["counts"])))
                for box, score, label, rle in columns])

    def compute_metrics(self, results):
        """Score all detections, and write them when asked to."""
        detections = [detection for image in results for detection in image]
        if self.results_file:
            Path(self.results_file).write_text(json.dumps(detections))
        return coco_metrics(self.ann_file, detections)


def _text(counts):
    return counts.decode() if isinstance(counts, bytes) else counts


def coco_metrics(ann_file, detections):
    """Compute box and mask metrics of COCO results.

    Args:
        ann_file: COCO annotations.
        detections: COCO results, each with `image_id`, `category_id`, `bbox`, `score` and an RLE `segmentation`.

    Returns:
        Dict of plain floats in [0, 1], NaN where the class or size range has no ground truth.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        metrics = {}
        for kind in KINDS:
            metrics.update(_evaluate(truth, _load(truth, detections, kind), kind))
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
    images, sizes, params = len(evaluation.params.imgIds), len(evaluation.params.areaRng), evaluation.params
    return [_class_matches(evaluation.evalImgs[start:start + images])  # the first of the size ranges: all sizes
            for start in range(0, len(params.catIds) * sizes * images, sizes * images)]


def _class_matches(images):
    """Scores, hits and number of objects of one class from COCOeval's entries per image, None where it is absent."""
    images = [entry for entry in images if entry]
    counted = [~entry["dtIgnore"][0].astype(bool) for entry in images]  # row 0 is IoU 0.5
    scores = [np.asarray(entry["dtScores"])[keep] for entry, keep in zip(images, counted, strict=True)]
    hits = [entry["dtMatches"][0][keep] > 0 for entry, keep in zip(images, counted, strict=True)]
    objects = sum(int((np.asarray(entry["gtIgnore"]) == 0).sum()) for entry in images)
    return np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits]), objects


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


def _evaluate(truth, found, kind):
    evaluation = COCOeval(truth, found, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = {f"{kind}/{name}": _defined(value) for name, value in zip(SUMMARY, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes, 100 detections
    for index, category in enumerate(truth.loadCats(evaluation.params.catIds)):
        for suffix, values in (("AP", precision[:, :, index]), ("AP50", precision[0, :, index])):
            known = values[values > -1]
            metrics[f"{kind}/{suffix}/{category['name']}"] = float(known.mean()) if known.size else float("nan")
    return metrics


def _defined(value):
    """COCO's -1 (no ground truth) as NaN."""
    return float("nan") if value == -1 else float(value)
