"""mmdet's two-stage Mask R-CNN, and Cascade Mask R-CNN, as one OpenVINO graph, built without ONNX.

Every number (strides, anchors, deviations, thresholds, counts) is read from the network itself. Each step names the
mmdet function it stands for; the parity gate holds the two together.
"""

import numpy as np
import torch
from mmcv.ops import SimpleRoIAlign
from openvino import opset13 as op

from instance_segmentation.engine.stages import stages_of
from instance_segmentation.inference.contracts import MASK_RCNN as CONTRACT  # noqa: F401  the exporter asks for it
from instance_segmentation.ir.conversion import convert, feed, finish, outputs_of
from instance_segmentation.ir.heads import BoxHead, Trunk, mask_head, mask_inputs
from instance_segmentation.ir.limits import CANDIDATE_SCORES, PROPOSALS
from instance_segmentation.ir.opset import columns, const, first, larger_than, length, split, take, where
from instance_segmentation.ir.point_rend import PointSamples

# Names of nodes that the parity gate looks at: per level the RPN's maps, the region proposals (PROPOSALS), what each further
# stage of a cascade takes for them, and before NMS the boxes [C, K, 4] and scores [C, K] (CANDIDATE_SCORES) of every class and
# proposal
RPN_SCORES, RPN_DELTAS, REGIONS, CANDIDATE_BOXES = "rpn_scores_{}", "rpn_deltas_{}", "regions_{}", "candidate_boxes"
LOG_RATIO = float(abs(np.log(16 / 1000)))  # wh_ratio_clip of mmdet's delta2bbox: boxes grow or shrink 62.5 times at most


def build_ir(model, channel_order="BGR"):
    """Build the graph of a checked detector.

    Returns:
        An ov.Model with these outputs, N ≤ max_per_img, possibly 0: `boxes` [N, 5] x1 y1 x2 y2 in pixels of the input and
        score, `labels` [N] i64, 0-based, `masks` [N, m, m] probabilities of the label's mask inside the box.
    """
    extent = const([[*model.input_size, 1]], np.float32)
    trunk, features, boxes, labels = find_boxes(model, channel_order, extent)
    masks = masks_of(model, features, columns(boxes, 0, 4), labels)
    return finish(trunk, "mask_rcnn", boxes=boxes, labels=labels, masks=masks)


def find_boxes(model, channel_order, extent):
    """Everything but the masks.

    Args:
        model, channel_order: As of `build_ir`.
        extent: [1, 3], height and width in pixels of what the image covers of the input, from the top left corner, and 1;
            boxes are clipped to it (mmdet's `img_shape`).

    Returns:
        The converted Trunk, feature maps, and as of `detect` boxes [N, 5] and labels [N].
    """
    trunk = convert(Trunk(model, reverse=channel_order == "RGB"), torch.rand(1, 3, *model.input_size))
    levels = len(model.rpn_head.prior_generator.strides)
    outputs = outputs_of(trunk)
    features, scores, deltas = outputs[:-2 * levels], outputs[-2 * levels:-levels], outputs[-levels:]
    rois = propose(model, scores, deltas, extent)
    return trunk, features, *detect(model, *classify(model, features, rois, extent), extent)


def stage_names(model):
    """Names of the nodes that the parity gate looks at, in the order of `parity_mask_rcnn.Stages`."""
    levels, heads = range(len(model.rpn_head.prior_generator.strides)), len(stages_of(model.roi_head, "bbox"))
    return [*map(RPN_SCORES.format, levels), *map(RPN_DELTAS.format, levels), PROPOSALS, *map(REGIONS.format, range(1, heads)),
            CANDIDATE_BOXES, CANDIDATE_SCORES]


def propose(model, scores, deltas, extent):
    """Region proposals [K, 4] in input pixels, best first (RPNHead._predict_by_feat_single).

    Args:
        model: The detector.
        scores: Per level, objectness [1, A, h, w].
        deltas: Per level, box deltas [1, 4A, h, w].
        extent: As of `find_boxes`.
    """
    head, config = model.rpn_head, model.test_cfg.rpn
    anchors = head.prior_generator.grid_priors([tuple(score.get_shape()[2:]) for score in scores], device="cpu")
    for index, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
        score.get_node().set_friendly_name(RPN_SCORES.format(index))
        delta.get_node().set_friendly_name(RPN_DELTAS.format(index))
    levels = [_propose_level(model, *level, extent) for level in zip(scores, deltas, anchors, strict=True)]
    rois, objectness = (op.concat([level[index] for level in levels], 0) for index in (0, 1))
    if config.get("min_bbox_size", -1) >= 0:
        # GenerateProposals only zeroes the score of small boxes; mmdet drops them. None suppresses another in its NMS
        large = larger_than(rois, config.min_bbox_size)
        rois, objectness = (take(values, large) for values in (rois, objectness))
    keep = op.minimum(const(config.max_per_img), length(objectness))
    best = op.topk(objectness, keep, 0, "max", "value", index_element_type="i64").output(1)
    rois = take(rois, best)
    rois.set_friendly_name(PROPOSALS)
    return rois.output(0)


def _propose_level(model, scores, deltas, anchors, extent):
    """One level's proposals and scores after NMS: outputs [K, 4] and [K]."""
    coder, config = model.rpn_head.bbox_coder, model.test_cfg.rpn
    _, per_cell, rows, columns = scores.get_shape()
    deltas = op.add(op.multiply(deltas, _per_anchor(coder.stds, per_cell)), _per_anchor(coder.means, per_cell))
    # GenerateProposals caps how much a box grows, like mmdet, but not how much it shrinks
    lowest = float(np.finfo(np.float32).min)
    deltas = op.maximum(deltas, _per_anchor([lowest, lowest, -LOG_RATIO, -LOG_RATIO], per_cell))
    count = per_cell * rows * columns
    count = min(count, config.nms_pre) if config.get("nms_pre", -1) > 0 else count
    proposals = op.generate_proposals(
        extent, const(anchors.numpy().reshape(rows, columns, per_cell, 4)), deltas, scores, min_size=0.0,
        nms_threshold=config.nms.iou_threshold, pre_nms_count=count, post_nms_count=count, normalized=True)
    return proposals.output(0), proposals.output(1)


def classify(model, features, rois, extent):
    """Run the box head, or those of a cascade one after the other (CascadeRoIHead._refine_roi).

    Args:
        model: The detector.
        features: Feature maps.
        rois: Proposals [K, 4].
        extent: As of `find_boxes`.

    Returns:
        The regions that the last head saw [K, 4], probabilities [K, classes + 1] of all heads' mean logits, background last, and
        the last head's box deltas.
    """
    logits, heads = [], stages_of(model.roi_head, "bbox")
    for index, stage in enumerate(heads, 1):
        own, deltas = feed(convert(BoxHead(stage), example(stage)), roi_features(stage.extractor, features, rois))
        logits.append(own)
        if index < len(heads):
            refined = op.squeeze(decode(stage.head, extent, rois, deltas), const([0]))
            refined.set_friendly_name(REGIONS.format(index))
            rois = refined.output(0)
    return rois, op.softmax(mean(logits), 1).output(0), deltas


def masks_of(model, features, boxes, labels):
    """Probabilities [N, m, m] of boxes [N, 4] and labels [N]: of a cascade, the mean of all its heads'."""
    found, heads = [], model.roi_head
    examples = torch.zeros(4, dtype=torch.int64), torch.rand(4, 4), [torch.rand(*level.get_shape()) for level in features]
    for stage in stages_of(heads, "mask"):
        head = convert(mask_head(heads, stage), example(stage), *mask_inputs(heads, stage, *examples))
        found += feed(head, roi_features(stage.extractor, features, boxes), *mask_inputs(heads, stage, labels, boxes, features))
    return mean(found)


def mean(values):
    """Mean of several nodes' values."""
    if len(values) == 1:
        return values[0]
    total = values[0]
    for value in values[1:]:
        total = op.add(total, value)
    return op.divide(total, const(len(values), np.float32)).output(0)


def roi_features(extractor, features, boxes):
    """Features [N, C, s, s] of boxes [N, 4] in input pixels (SingleRoIExtractor.forward with mmcv's RoIAlign).

    Each box is read from one level, chosen by its size, by an InclusiveRoIExtractor up to its last pixel's coordinate. The boxes
    are sorted by level, each level aligned on its own, and the result is put back in order. (In one operation
    ExperimentalDetectronROIFeatureExtractor does this, but it knows no other size rule than Detectron's, and on CPU runs as slow
    reference code.)
    """
    left_out = getattr(extractor, "left_out", None)
    rois = op.subtract(boxes, const([left_out], np.float32)) if left_out else boxes
    if len(extractor.roi_layers) == 1:
        return _align(extractor.roi_layers[0], features[0], rois).output(0)
    levels = roi_levels(boxes, extractor)
    parts, places = [], []
    for index, (layer, feature) in enumerate(zip(extractor.roi_layers, features, strict=False)):
        here = where(op.equal(levels, const(index)))
        parts.append(_align(layer, feature, take(rois, here)))
        places.append(here)
    order = op.concat(places, 0)  # order[i] is the box whose features are row i
    count = op.shape_of(order, "i64")
    back = op.scatter_elements_update(order, order, op.range(const(0), op.squeeze(count, const([0])), const(1), "i64"),
                                      const(0))
    return op.gather(op.concat(parts, 0), back, const(0)).output(0)


def roi_levels(boxes, extractor):
    """Level of each box [N] i64 (SingleRoIExtractor.map_roi_levels)."""
    x1, y1, x2, y2 = split(boxes, 1)
    area = op.squeeze(op.multiply(op.subtract(x2, x1), op.subtract(y2, y1)), const([1]))
    relative = op.add(op.divide(op.sqrt(area), const(extractor.finest_scale, np.float32)), const(1e-6, np.float32))
    log2 = op.divide(op.log(relative), const(np.log(2), np.float32))
    return op.convert(op.clamp(op.floor(log2), 0, len(extractor.featmap_strides) - 1), "i64")


def _align(layer, feature, boxes):
    if isinstance(layer, SimpleRoIAlign):
        (crops,) = feed(convert(PointSamples(layer), torch.rand(*feature.get_shape()), torch.rand(4, 4)), feature, boxes)
        return crops.get_node()
    height, width = layer.output_size
    batch = op.broadcast(const(0), op.gather(op.shape_of(boxes, "i64"), const([0]), const(0)))
    return op.roi_align(feature, boxes, batch, height, width, int(layer.sampling_ratio), float(layer.spatial_scale), "avg",
                        "half_pixel_for_nn" if layer.aligned else "asymmetric")


def detect(model, rois, probabilities, deltas, extent):
    """Detections above the threshold after NMS per class (BBoxHead._predict_by_feat_single, multiclass_nms).

    Args:
        model: The detector.
        rois: Regions [K, 4].
        probabilities: [K, classes + 1], background last.
        deltas: [K, 4 · classes], or [K, 4] when regression is class-agnostic.
        extent: As of `find_boxes`.

    Returns:
        Boxes with score [N, 5] and labels [N] i64, by descending score.
    """
    head, config = stages_of(model.roi_head, "bbox")[-1].head, model.test_cfg.rcnn
    classes, boxes = head.num_classes, decode(head, extent, rois, deltas)
    scores = op.transpose(columns(probabilities, 0, classes), const([1, 0]))
    if head.reg_class_agnostic:
        shape = op.concat([const([classes]), op.gather(op.shape_of(boxes, "i64"), const([1, 2]), const(0))], 0)
        boxes = op.broadcast(boxes, shape)
    boxes.set_friendly_name(CANDIDATE_BOXES)
    scores.set_friendly_name(CANDIDATE_SCORES)
    kept = op.non_max_suppression(
        _set_apart(boxes, scores, config.score_thr), op.unsqueeze(scores, const(1)), length(rois),
        const(config.nms.iou_threshold, np.float32), const(config.score_thr, np.float32), box_encoding="corner",
        sort_result_descending=True, output_type="i64").output(0)  # rows, best first: class, 0, proposal
    kept = take(first(kept, config.max_per_img), const([0, 2]), 1)
    kept_scores = op.unsqueeze(op.gather_nd(scores, kept), const(1))
    labels = op.squeeze(columns(kept, 0, 1), const([1]))
    return op.concat([op.gather_nd(boxes, kept), kept_scores], 1).output(0), labels.output(0)


def _set_apart(boxes, scores, threshold):
    """Move the boxes [C, K, 4] of each class to a place of their own, as mmcv's batched_nms does.

    Here NMS runs per class anyhow, but the shift rounds the coordinates (by 0.004 px at the 80th class): without the
    same rounding some pairs of boxes near the IoU threshold would be decided differently from the checkpoint.
    """
    above = op.unsqueeze(op.greater(scores, const(threshold, np.float32)), const(2))
    largest = op.reduce_max(op.select(above, boxes, const(0.0, np.float32)), const([0, 1, 2]), False)
    index = op.convert(op.range(const(0), op.gather(op.shape_of(boxes, "i64"), const(0), const(0)), const(1), "i64"),
                       "f32")
    shift = op.multiply(index, op.add(largest, const(1.0, np.float32)))
    return op.add(boxes, op.reshape(shift, const([-1, 1, 1]), False))


def decode(head, extent, rois, deltas):
    """Boxes [classes or 1, K, 4] of regions and a box head's deltas, clipped to the extent (delta2bbox)."""
    height, width = (columns(extent, axis, axis + 1) for axis in (0, 1))
    coder, classes = head.bbox_coder, 1 if head.reg_class_agnostic else head.num_classes
    deltas = op.reshape(deltas, const([0, classes, 4]), True)
    deltas = op.add(op.multiply(deltas, const(coder.stds, np.float32)), const(coder.means, np.float32))
    dx, dy, dw, dh = split(op.transpose(deltas, const([1, 0, 2])), 2)
    x1, y1, x2, y2 = split(rois, 1)
    left, right = _decode_axis(x1, x2, dx, dw, width)
    top, bottom = _decode_axis(y1, y2, dy, dh, height)
    return op.concat([left, top, right, bottom], 2)


def _decode_axis(low, high, shift, log_scale, limit):
    """Both ends of the decoded boxes along one axis, clipped to [0, limit]."""
    half, size = const(0.5, np.float32), op.subtract(high, low)
    centre = op.add(op.multiply(op.add(low, high), half), op.multiply(size, shift))
    reach = op.multiply(op.multiply(size, op.exp(op.clamp(log_scale, -LOG_RATIO, LOG_RATIO))), half)
    return [op.minimum(op.relu(end), limit) for end in (op.subtract(centre, reach), op.add(centre, reach))]


def example(stage):
    """RoI features [4, C, s, s] to trace a stage's head with."""
    return torch.rand(4, stage.extractor.out_channels, *stage.extractor.roi_layers[0].output_size)


def _per_anchor(values, per_cell):
    """Four numbers per box as a constant for delta maps [1, 4A, h, w]."""
    return const(np.tile(values, per_cell).reshape(1, -1, 1, 1), np.float32)
