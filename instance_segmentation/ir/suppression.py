"""Whether boxes are what greedy NMS may leave of candidates, whichever of equal scores it takes first.

It leaves candidates that do not overlap each other too much, and that account for every other candidate.
"""

import torch
from mmdet.structures.bbox import bbox_overlaps

SCORE_EDGE, IOU_EDGE = 1e-6, 1e-3  # rounding of sigmoids, and of decoded boxes' IoU


def may_leave(found, boxes, scores, config, box_px, cut=0.0):
    """Whether NMS of each class may leave `found`.

    Args:
        found: A `contracts.Found`.
        boxes, scores: Candidates [C, K, 4] and [C, K] of every class.
        config: mmdet's test config: `score_thr`, `nms`, `max_per_img`.
        box_px: Largest difference between a box and its candidate.
        cut: Candidates that score no more may have been left out.
    """
    own, labels = torch.from_numpy(found.boxes), torch.from_numpy(found.labels)
    floor = max(config.score_thr, cut)
    if len(labels) >= config.max_per_img:  # lower scores than the last did not fit in
        floor = max(floor, float(found.scores.min()))
    for label, class_scores in enumerate(scores):
        above = class_scores > config.score_thr
        candidates, kept = boxes[label][above], own[labels == label]
        if len(kept) and (not len(candidates) or distance(kept, candidates).amin(1).max() > box_px):
            return False
        if not (no_overlap(kept, config.nms.iou_threshold)
                and accounts_for(candidates, class_scores[above], kept, config.nms.iou_threshold, floor, box_px)):
            return False
    return True


def no_overlap(kept, iou_threshold):
    """Whether no two of the boxes (M, 4) overlap more than the threshold."""
    return len(kept) < 2 or float(bbox_overlaps(kept, kept).fill_diagonal_(0).max()) <= iou_threshold + IOU_EDGE


def accounts_for(boxes, scores, kept, iou_threshold, floor, box_px):
    """Whether every candidate is kept, overlaps a kept one that scores as much, or scores no more than `floor`.

    Args:
        boxes, scores: Candidates (N, 4) and (N,).
        kept: (M, 4), each one of the candidates but for rounding.
        iou_threshold: Of the NMS.
        floor: Candidates that score no more need no account.
        box_px: Largest difference between a kept box and its candidate.
    """
    above = scores > floor + SCORE_EDGE
    if not len(kept) or not above.any():
        return not bool(above.any())
    same = distance(kept, boxes) <= box_px
    kept_scores = torch.where(same, scores[None], 0.0).amax(1)  # of equal boxes, at the image's border, the best is kept
    overlap = bbox_overlaps(boxes, kept)
    covered = ((overlap > iou_threshold - IOU_EDGE) & (kept_scores[None] >= scores[:, None] - SCORE_EDGE)).any(1)
    return bool((covered | same.any(0) | ~above).all())


def distance(some, others):
    """Largest corner difference between each pair of boxes, [len(some), len(others)]; row by row to spare memory."""
    return torch.stack([(others - box).abs().amax(1) for box in some]) if len(some) else torch.zeros(0, len(others))
