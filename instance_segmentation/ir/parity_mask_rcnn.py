"""Both sides of the parity gate for Mask R-CNN, whole and in parts.

When checkpoint and graph keep different ones of nearly equal boxes, each part of the network is compared on its own, with the
graph's own intermediate result as input, so that no earlier rounding can decide:
  1. the RPN's maps agree;
  2. the graph's proposals are what TopK and greedy NMS leave of the boxes that mmdet decodes from these maps;
  3. for the graph's proposals, the checkpoint's box head gives the graph's boxes and scores, every class and proposal; of a
     cascade, for each stage's own regions it gives the graph's next ones, and at the end boxes and scores;
  4. the graph's detections are what greedy NMS leaves of these boxes and scores;
  5. for the graph's detections, the checkpoint's mask head gives the graph's masks.
Of equal scores either may come first in 2 and 4: where a ReLU is silent, whole regions of the RPN score alike.
"""

from dataclasses import dataclass

import torch
from mmdet.structures.bbox import bbox2roi

from instance_segmentation.engine.stages import forwards_of, stages_of
from instance_segmentation.ir.mask_rcnn import RPN_SCORES, stage_names
from instance_segmentation.ir.parity_graph import Graph
from instance_segmentation.ir.parity_images import prepared
from instance_segmentation.ir.suppression import SCORE_EDGE, accounts_for, distance, may_leave, no_overlap


@dataclass
class Stages:
    """The graph's intermediate results.

    Attributes:
        logits, deltas: Per level, tensors [1, A, h, w] and [1, 4A, h, w] of the RPN.
        regions: Per stage of the box head, what it takes, (K, 4) in pixels of the input; the first are the proposals.
        boxes, scores: [C, K, 4] and [C, K], of every class and proposal before NMS.
    """

    logits: list
    deltas: list
    regions: list
    boxes: torch.Tensor
    scores: torch.Tensor

    @classmethod
    def of(cls, answer, model):
        """Those among a `Graph`'s answer."""
        levels = len(model.rpn_head.prior_generator.strides)
        found = [torch.from_numpy(answer[name]) for name in stage_names(model)]
        return cls(found[:levels], found[levels:2 * levels], found[2 * levels:-2], *found[-2:])

    @property
    def proposals(self):
        """(K, 4) in pixels of the input."""
        return self.regions[0]


def graph(exported, channel_order, model):
    """The exported model as a `parity_graph.Graph`."""
    return Graph(exported, channel_order, stage_names(model), _before_sigmoid)


def _before_sigmoid(node):
    return node.input_value(0) if node.get_friendly_name().startswith(RPN_SCORES.format("")) else node.output(0)


@torch.inference_mode()
def run_checkpoint(model, image):
    """What the graph's outputs should be, by name and by mmdet's own code, of a [3, H, W] uint8 BGR tensor."""
    inputs, samples = prepared(model, image)
    features, metas, heads = model.extract_feat(inputs), [samples[0].metainfo], model.roi_head
    regions = model.rpn_head.predict(features, samples, rescale=False)
    found = heads.predict_bbox(features, metas, regions, model.test_cfg.rcnn, rescale=False)[0]
    return dict(boxes=torch.cat([found.bboxes, found.scores[:, None]], 1).numpy(), labels=found.labels.numpy(),
                masks=_masks(heads, features, found.bboxes, found.labels).numpy())


def chosen_cells(model):
    """Share of a mask's cells that PointRend may compute anew on one side alone: see `parity_masks`."""
    return 0.01 if getattr(model.roi_head, "point_head", None) is not None else 0.0


def _masks(heads, features, boxes, labels):
    """The checkpoint's mask probabilities [N, m, m] of boxes [N, 4] and labels [N]."""
    rois = bbox2roi([boxes])
    logits = [forward(features, rois)["mask_preds"] for forward in forwards_of(heads, "mask")]
    if getattr(heads, "point_head", None) is not None:
        logits = [heads._mask_point_forward_test(features, rois, labels, *logits)]
    masks = torch.stack(logits).sigmoid().mean(0)
    return masks[range(len(masks)), labels * 0 if masks.shape[1] == 1 else labels]


@torch.inference_mode()
def same_in_parts(model, image, found, stages, tolerance):
    """Whether all five parts agree; see the module's text.

    Args:
        model: The checkpoint's network.
        image: [3, H, W] uint8 BGR tensor.
        found: The graph's detections, a `contracts.Found`.
        stages: The graph's outputs and intermediate results by name.
        tolerance: `box_px`, `score`, `mask`, `strays` and `maps` bound the differences.
    """
    inputs, _ = prepared(model, image)
    features, stages = model.extract_feat(inputs), Stages.of(stages, model)
    return (_same_maps(model, features, stages, tolerance) and _same_proposals(model, stages, tolerance)
            and _same_candidates(model, features, stages, tolerance)
            and may_leave(found, stages.boxes, stages.scores, model.test_cfg.rcnn, tolerance.box_px)
            and _same_masks(model, features, found, tolerance))


def _same_maps(model, features, stages, tolerance):
    logits, deltas = model.rpn_head(features)
    pairs = zip([*logits, *deltas], [*stages.logits, *stages.deltas], strict=True)
    # rounding grows with the values: a little-trained network answers an unusual image with logits of thousands
    return all(float((own - other).abs().max()) <= tolerance.maps * max(1.0, float(own.abs().max()) / 100)
               for own, other in pairs)


def _same_proposals(model, stages, tolerance):
    config, levels = model.test_cfg.rpn, [level for level in _anchors_left(model, stages) if len(level[0])]
    if not levels:
        return not len(stages.proposals)
    # a box that is clipped to the image's border can be a candidate of several levels
    matches = torch.stack([distance(stages.proposals, boxes).amin(1) <= tolerance.box_px for boxes, _, _ in levels])
    if not matches.any(0).all():
        return False
    iou_threshold, full = config.nms.iou_threshold, 0.0
    if len(stages.proposals) >= config.max_per_img:  # lower scores than the list's last did not fit in
        last = stages.proposals[-1:]
        full = max(float(scores[distance(last, boxes)[0] <= tolerance.box_px].max())
                   for match, (boxes, scores, _) in zip(matches[:, -1], levels, strict=True) if match)
    return all(no_overlap(stages.proposals[match & (matches.sum(0) == 1)], iou_threshold)
               and accounts_for(boxes, scores, stages.proposals[match], iou_threshold, max(cut, full), tolerance.box_px)
               for match, (boxes, scores, cut) in zip(matches, levels, strict=True))


def _anchors_left(model, stages):
    """Per level, what goes into NMS: boxes [n, 4], scores [n], and the score below which nms_pre may have cut them off."""
    head, config, levels = model.rpn_head, model.test_cfg.rpn, []
    anchors = head.prior_generator.grid_priors([tuple(logits.shape[2:]) for logits in stages.logits], device="cpu")
    for logits, deltas, anchor in zip(stages.logits, stages.deltas, anchors, strict=True):
        scores = logits[0].permute(1, 2, 0).reshape(-1).sigmoid()
        boxes = head.bbox_coder.decode(anchor, deltas[0].permute(1, 2, 0).reshape(-1, 4), max_shape=model.input_size)
        cut = float(scores.sort(descending=True)[0][config.nms_pre - 1]) if len(scores) > config.nms_pre > 0 else 0.0
        sides = (boxes[:, 2:] - boxes[:, :2]).amin(1)
        left = (scores >= cut - SCORE_EDGE) & (sides > config.get("min_bbox_size", -1))
        levels.append((boxes[left], scores[left], cut))
    return levels


def _same_candidates(model, features, stages, tolerance):
    refined, logits = [], []
    for stage, forward, regions in zip(stages_of(model.roi_head, "bbox"), forwards_of(model.roi_head, "bbox"), stages.regions,
                                       strict=True):
        answer = forward(features, bbox2roi([regions]))
        boxes = stage.head.bbox_coder.decode(regions, answer["bbox_pred"], max_shape=model.input_size)
        refined.append(boxes.reshape(len(regions), -1, 4).transpose(0, 1))
        logits.append(answer["cls_score"])
    scores = torch.stack(logits).mean(0).softmax(-1)[:, :-1].T
    return (all(float((own - other).abs().max()) <= tolerance.box_px
                for own, other in zip(refined, [*stages.regions[1:], stages.boxes], strict=True))
            and float((scores - stages.scores).abs().max()) <= tolerance.score)


def _same_masks(model, features, found, tolerance):
    if not len(found.boxes):  # PointRend's head gives another shape then
        return True
    own = _masks(model.roi_head, features, torch.from_numpy(found.boxes), torch.from_numpy(found.labels))
    strays = ((own - torch.from_numpy(found.masks)).abs() > tolerance.mask).flatten(1).float().mean(1)
    return bool((strays <= tolerance.strays + chosen_cells(model)).all())
