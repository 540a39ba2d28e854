"""Both sides of the parity gate for RTMDet-Ins, whole and in parts.

When checkpoint and graph keep different ones of nearly equal boxes, (1) the network's maps are compared, and (2) the graph's
detections with what NMS may leave of the boxes that mmdet decodes from the graph's own maps.
"""

import torch

from instance_segmentation.ir.limits import CELL_SCORES
from instance_segmentation.ir.parity_graph import Graph
from instance_segmentation.ir.parity_images import prepared
from instance_segmentation.ir.rtmdet_ins import DISTANCES, FEATURES, KERNELS, all_priors, maps_of, stage_names
from instance_segmentation.ir.suppression import may_leave


def graph(exported, channel_order, model):
    """The exported model as a `parity_graph.Graph`."""
    return Graph(exported, channel_order, stage_names(model))


@torch.inference_mode()
def run_checkpoint(model, image):
    """What the graph's outputs should be, by name and by mmdet's own code, of a [3, H, W] uint8 BGR tensor."""
    inputs, samples = prepared(model, image)
    maps = model.bbox_head(model.extract_feat(inputs))
    (found,) = model.bbox_head.detect(*maps, batch_img_metas=[samples[0].metainfo])
    return dict(boxes=torch.cat([found.bboxes, found.scores[:, None]], 1).numpy(), labels=found.labels.numpy(),
                masks=found.masks.numpy())


@torch.inference_mode()
def same_in_parts(model, image, found, stages, tolerance):
    """Whether both parts agree; see the module's text.

    Args:
        model: The checkpoint's network.
        image: [3, H, W] uint8 BGR tensor.
        found: The graph's detections, a `contracts.Found`.
        stages: The graph's outputs and maps by name.
        tolerance: `box_px`, `score` and `maps` bound the differences.
    """
    inputs, _ = prepared(model, image)
    stages = {name: torch.from_numpy(stages[name]) for name in stage_names(model)}
    return _same_maps(dict(zip(stage_names(model), maps_of(model, inputs), strict=True)), stages, tolerance) and _same_choice(
        model, found, stages, tolerance)


def _same_maps(own, stages, tolerance):
    return all(float((values - stages[name]).abs().max()) <= _limit(name, values, tolerance) for name, values in own.items())


def _limit(name, values, tolerance):
    """Largest difference that a map may have; of values without bound rounding grows with them."""
    bounds = {CELL_SCORES: tolerance.score, DISTANCES: tolerance.box_px, KERNELS: tolerance.maps, FEATURES: tolerance.maps}
    limit = next(limit for start, limit in bounds.items() if name.startswith(start.format("")))
    return limit * max(1.0, float(values.abs().max()) / 100)


def _same_choice(model, found, stages, tolerance):
    config, levels = model.test_cfg, range(len(model.bbox_head.prior_generator.strides))
    scores, distances = ([stages[name.format(level)] for level in levels] for name in (CELL_SCORES, DISTANCES))
    boxes = model.bbox_head.bbox_coder.decode(all_priors(model)[:, :2], torch.cat(distances, 1).T, max_shape=model.input_size)
    large = ((boxes[:, 2:] - boxes[:, :2]) > config.get("min_bbox_size", -1)).all(1)
    cut = max(_cut(level.flatten(), config) for level in scores)
    scores = torch.cat(scores, 1)[:, large]
    return may_leave(found, boxes[large].expand(len(scores), -1, -1), scores, config, tolerance.box_px, cut)


def _cut(scores, config):
    """The score at which `nms_pre` ends a level's list, 0 when all fit in."""
    above = scores[scores > config.score_thr]
    return float(above.topk(config.nms_pre)[0][-1]) if len(above) > config.nms_pre else 0.0
