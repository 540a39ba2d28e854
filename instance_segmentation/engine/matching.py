"""What COCOeval matched at IoU 0.5: by class, by image, and across classes. Needs no torch."""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def class_matches(evaluation):
    """Which detections count as hits.

    Args:
        evaluation: A COCOeval that has been evaluated, 0.5 being its first IoU.

    Returns:
        Per class, in the order of the categories: scores (N,), hits (N,) bool, number of objects. Detections that COCO ignores,
        because they lie on a crowd, are left out.
    """
    return [_joined(entries) for entries in _by_class(evaluation)]


def image_matches(evaluation, threshold):
    """Count hits, false alarms and misses of each image.

    Args:
        evaluation: As of `class_matches`.
        threshold: Score from which a detection counts. COCO matches greedily, the surest detection first, so that leaving out
            unsure ones changes no other match.

    Returns:
        Image id → array (hits, alarms, misses); all 0 for an image without objects and detections.
    """
    counts = {image: np.zeros(3, int) for image in evaluation.params.imgIds}
    for entry in (entry for entries in _by_class(evaluation) for entry in entries):
        scores, hits, objects = _joined([entry])
        hit = hits[scores >= threshold]
        counts[entry["image_id"]] += hit.sum(), (~hit).sum(), objects - hit.sum()
    return counts


def f1_at(thresholds, scores, hits, objects):
    """F1 of the detections that reach each of `thresholds`; the other arguments are an item of `class_matches`."""
    order = np.argsort(-scores, kind="stable")
    found = np.concatenate([[0], np.cumsum(hits[order])])
    number = np.searchsorted(-scores[order], -np.asarray(thresholds), side="right")
    return 2 * found[number] / np.maximum(number + objects, 1)


def confusion(evaluation, threshold):
    """Count which class each object is taken for: masks are matched whatever their class, the surest detection first.

    Args:
        evaluation: A COCOeval of masks that has been evaluated.
        threshold: Score from which a detection counts.

    Returns:
        (C + 1, C + 1) int: rows are the objects' classes, columns the detections'; the last row is detections where no object
        is, the last column objects that were not found.
    """
    truth, found = evaluation.cocoGt, COCO()
    found.dataset = dict(evaluation.cocoDt.dataset, annotations=[
        item for item in evaluation.cocoDt.dataset["annotations"] if item["score"] >= threshold])
    across = COCOeval(truth, found, "segm")
    with contextlib.redirect_stdout(io.StringIO()):
        found.createIndex()
        params = across.params
        params.imgIds, params.catIds, params.useCats = evaluation.params.imgIds, evaluation.params.catIds, 0
        params.iouThrs, params.areaRng, params.areaRngLbl, params.maxDets = [0.5], [[0, 1e10]], ["all"], [len(found.anns)]
        across.evaluate()
    place = {category: index for index, category in enumerate(evaluation.params.catIds)}
    matrix = np.zeros((len(place) + 1, len(place) + 1), int)
    for entry in filter(None, across.evalImgs):
        for detection, taken, ignored in zip(entry["dtIds"], entry["dtMatches"][0], entry["dtIgnore"][0], strict=True):
            row = place[truth.anns[int(taken)]["category_id"]] if taken else -1
            matrix[row, place[found.anns[detection]["category_id"]]] += not ignored
        for item, taken, ignored in zip(entry["gtIds"], entry["gtMatches"][0], entry["gtIgnore"], strict=True):
            matrix[place[truth.anns[item]["category_id"]], -1] += not (taken or ignored)
    return matrix


def _by_class(evaluation):
    """COCOeval's entries per image, those of objects of all sizes, for each class; images where it is absent are left out."""
    params = evaluation.params
    images, sizes = len(params.imgIds), len(params.areaRng)
    starts = range(0, len(params.catIds) * sizes * images, sizes * images)  # the first of the size ranges: all sizes
    return [list(filter(None, evaluation.evalImgs[start:start + images])) for start in starts]


def _joined(entries):
    """Scores, hits and number of objects of COCOeval's entries."""
    counted = [~entry["dtIgnore"][0].astype(bool) for entry in entries]  # row 0 is IoU 0.5
    scores = [np.asarray(entry["dtScores"])[keep] for entry, keep in zip(entries, counted, strict=True)]
    hits = [entry["dtMatches"][0][keep] > 0 for entry, keep in zip(entries, counted, strict=True)]
    objects = sum(int((np.asarray(entry["gtIgnore"]) == 0).sum()) for entry in entries)
    return np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits]), objects
