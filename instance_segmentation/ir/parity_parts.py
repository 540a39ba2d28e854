"""Both sides of the parity gate, whole and in parts.

When checkpoint and graph keep different ones of nearly equal boxes, each part of the network is compared on its own, with the
graph's own intermediate result as input, so that no earlier rounding can decide:
  1. the RPN's maps agree;
  2. from the graph's maps, mmdet makes the graph's proposals, but for 5 % that sit on the edge of its TopK and NMS;
  3. for the graph's proposals, the checkpoint's box head gives the graph's boxes and scores, every class and proposal;
  4. from these boxes and scores, mmdet's NMS keeps what the graph kept.
Masks are compared with the detections that have partners.
"""

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.models.layers import multiclass_nms
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi

from instance_segmentation.ir.graph import CANDIDATE_BOXES, CANDIDATE_SCORES, PROPOSALS, RPN_DELTAS, RPN_SCORES
from instance_segmentation.ir.session import compile_ir

PROPOSAL_SHARE = 0.05


@dataclass
class Detections:
    """One image's result: boxes (N, 4) in pixels of the input, scores (N,), labels (N,), masks (N, m, m) in [0, 1]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


@dataclass
class Stages:
    """The graph's intermediate results.

    Attributes:
        logits, deltas: Per level, tensors [1, A, h, w] and [1, 4A, h, w] of the RPN.
        proposals: (K, 4) in pixels of the input.
        boxes, scores: [C, K, 4] and [C, K], of every class and proposal before NMS.
    """

    logits: list
    deltas: list
    proposals: torch.Tensor
    boxes: torch.Tensor
    scores: torch.Tensor


class Graph:
    """The compiled graph with its intermediate results as further outputs."""

    def __init__(self, ir, channel_order, levels):
        ir = ir.clone()
        nodes = {node.get_friendly_name(): node for node in ir.get_ops()}
        logits = [nodes[RPN_SCORES.format(level)].input_value(0) for level in range(levels)]  # before the sigmoid
        others = [*(RPN_DELTAS.format(level) for level in range(levels)), PROPOSALS, CANDIDATE_BOXES, CANDIDATE_SCORES]
        ir.add_outputs(logits + [nodes[name].output(0) for name in others])
        self.compiled, self.channel_order, self.levels = compile_ir(ir), channel_order, levels

    def __call__(self, image):
        """Run on a [3, H, W] uint8 BGR tensor; returns Detections and Stages."""
        image = image if self.channel_order == "BGR" else image.flip(0)
        answer = self.compiled(image[None].float().numpy())
        boxes, labels, masks = (answer[name] for name in ("boxes", "labels", "masks"))
        extra = [torch.from_numpy(answer[index].copy()) for index in range(3, len(self.compiled.outputs))]
        stages = Stages(extra[:self.levels], extra[self.levels:-3], *extra[-3:])
        return Detections(boxes[:, :4], boxes[:, 4], labels, masks), stages


def _prepared(model, image):
    """The image as the network takes it, and its DetDataSample in pixels of the input."""
    meta = dict(img_shape=model.input_size, ori_shape=model.input_size, scale_factor=(1.0, 1.0))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)]))
    return data["inputs"], data["data_samples"]


@torch.inference_mode()
def run_checkpoint(model, image):
    """The checkpoint's detections in pixels of the network's input, by mmdet's own code, of a [3, H, W] uint8 BGR tensor."""
    inputs, samples = _prepared(model, image)
    features, metas, heads = model.extract_feat(inputs), [samples[0].metainfo], model.roi_head
    regions = model.rpn_head.predict(features, samples, rescale=False)
    found = heads.predict_bbox(features, metas, regions, model.test_cfg.rcnn, rescale=False)[0]
    masks = heads._mask_forward(features, bbox2roi([found.bboxes]))["mask_preds"].sigmoid()
    channels = found.labels * 0 if heads.mask_head.class_agnostic else found.labels
    return Detections(*(tensor.numpy() for tensor in (found.bboxes, found.scores, found.labels,
                                                      masks[range(len(masks)), channels])))


def pair_up(expected, found, pair_px):
    """Pair detections of the same label, nearest boxes first.

    Returns:
        Pairs (index in expected, index in found), and those without a partner as (side, index), side 0 being expected.
    """
    distance = np.abs(expected.boxes[:, None] - found.boxes[None]).max(2, initial=0)
    distance = distance + np.abs(expected.scores[:, None] - found.scores[None])
    distance[expected.labels[:, None] != found.labels[None]] = np.inf
    pairs, left = [], [set(range(len(expected.boxes))), set(range(len(found.boxes)))]
    for flat in np.argsort(distance, axis=None, kind="stable"):
        first, second = np.unravel_index(flat, distance.shape)
        if distance[first, second] > pair_px:
            break
        if first in left[0] and second in left[1]:
            pairs.append((first, second))
            left[0].remove(first)
            left[1].remove(second)
    return pairs, [(side, index) for side in (0, 1) for index in sorted(left[side])]


@torch.inference_mode()
def same_in_parts(model, image, found, stages, tolerance):
    """Whether all four parts agree; see the module's text.

    Args:
        model: The checkpoint's network.
        image: [3, H, W] uint8 BGR tensor.
        found: The graph's Detections.
        stages: The graph's Stages.
        tolerance: `box_px`, `score` and `maps` bound the differences.
    """
    inputs, _ = _prepared(model, image)
    features = model.extract_feat(inputs)
    return (_same_maps(model, features, stages, tolerance) and _same_proposals(model, stages, tolerance)
            and _same_candidates(model, features, stages, tolerance) and _same_choice(model, found, stages, tolerance))


def _same_maps(model, features, stages, tolerance):
    logits, deltas = model.rpn_head(features)
    pairs = zip([*logits, *deltas], [*stages.logits, *stages.deltas], strict=True)
    return max(float((own - other).abs().max()) for own, other in pairs) <= tolerance.maps


def _same_proposals(model, stages, tolerance):
    meta = dict(img_shape=model.input_size, scale_factor=(1.0, 1.0))
    own = model.rpn_head.predict_by_feat(stages.logits, stages.deltas, batch_img_metas=[meta], rescale=False)[0].bboxes
    distance = (own[:, None] - stages.proposals[None]).abs().amax(2)
    strangers = sum(int((distance.amin(axis) > tolerance.box_px).sum()) for axis in (0, 1)) if distance.numel() else 0
    return strangers <= PROPOSAL_SHARE * (len(own) + len(stages.proposals))


def _same_candidates(model, features, stages, tolerance):
    head, rois = model.roi_head.bbox_head, bbox2roi([stages.proposals])
    answer = model.roi_head._bbox_forward(features, rois)
    boxes = head.bbox_coder.decode(rois[:, 1:], answer["bbox_pred"], max_shape=model.input_size)
    boxes = boxes.reshape(len(rois), -1, 4).transpose(0, 1)
    scores = answer["cls_score"].softmax(-1)[:, :-1].T
    return (float((boxes - stages.boxes).abs().max()) <= tolerance.box_px
            and float((scores - stages.scores).abs().max()) <= tolerance.score)


def _same_choice(model, found, stages, tolerance):
    config, count = model.test_cfg.rcnn, stages.scores.shape[1]
    scores = torch.cat([stages.scores.T, torch.zeros(count, 1)], 1)  # mmdet expects the background's column
    rows, labels = multiclass_nms(stages.boxes.transpose(0, 1).reshape(count, -1), scores, config.score_thr, config.nms,
                                  config.max_per_img)
    own = Detections(rows[:, :4].numpy(), rows[:, 4].numpy(), labels.numpy(), None)
    return not pair_up(own, found, tolerance.box_px)[1]
