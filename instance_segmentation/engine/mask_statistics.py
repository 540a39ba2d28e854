"""cvtk's statistics of a test: COCO's AP and AR of masks under names that say IoU, object size and number of detections."""

import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZES, LIMITS = ("small", "medium", "large"), (100, 300, 1000)
ALL_IOUS = "0.50:0.95"
WANTED = [("AP", ALL_IOUS, "all", 100), ("AP", "0.50", "all", 1000), ("AP", "0.75", "all", 1000),
          *(("AP", ALL_IOUS, size, 1000) for size in SIZES), *(("AR", ALL_IOUS, "all", limit) for limit in LIMITS),
          *(("AR", ALL_IOUS, size, 1000) for size in SIZES)]
ROWS = {ALL_IOUS: slice(None), "0.50": [0], "0.75": [5]}  # of COCOeval's IoU thresholds


def mask_statistics(truth_json, found_json):
    """Compute the statistics of detections.

    Args:
        truth_json: COCO annotations.
        found_json: A COCO file with the same images and categories whose annotations are detections with a score.

    Returns:
        `stats`, means over the classes, and `class_stats`, class name → the same: twelve values in [0, 1] by names such as
        `AP@[0.50:0.95|all|100]`; -1, as in COCO, where there is nothing to find.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_json))
        evaluation = COCOeval(truth, COCO(str(found_json)), "segm")
        evaluation.params.maxDets = list(LIMITS)
        evaluation.evaluate()
        evaluation.accumulate()
    names = [truth.cats[number]["name"] for number in evaluation.params.catIds]
    return dict(stats=_of_classes(evaluation, slice(None)),
                class_stats={name: _of_classes(evaluation, [index]) for index, name in enumerate(names)})


def _of_classes(evaluation, classes):
    """The values of some classes together."""
    values, sizes = {}, evaluation.params.areaRngLbl
    for kind, iou, size, limit in WANTED:
        table = evaluation.eval["precision" if kind == "AP" else "recall"]  # IoU, (recall,) class, size, number of detections
        table = table[ROWS[iou]][..., classes, sizes.index(size), LIMITS.index(limit)]
        values[f"{kind}@[{iou}|{size}|{limit}]"] = float(table[table > -1].mean()) if (table > -1).any() else -1.0
    return values
