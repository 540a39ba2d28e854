"""Both sides of the parity gate for RTMDet-Ins, whole and in parts.

When checkpoint and graph keep different ones of nearly equal boxes, or rounding was amplified, (1) the network's maps are
compared, (2) the graph's detections with what NMS may leave of the boxes that mmdet decodes from the graph's own maps, and
(3) their masks with mmdet's dynamic convolutions of these maps.
"""

import torch

from instance_segmentation.engine.rtmdet_ins import crop
from instance_segmentation.ir.limits import CELL_SCORES
from instance_segmentation.ir.parity_graph import Graph
from instance_segmentation.ir.parity_images import prepared
from instance_segmentation.ir.rtmdet_ins import DISTANCES, FEATURES, KERNELS, all_priors, maps_of, stage_names
from instance_segmentation.ir.suppression import distance, may_leave


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


def chosen_cells(model):
    """No cell of a mask is computed in a way that rounding chooses."""
    return 0.0


@torch.inference_mode()
def same_in_parts(model, image, found, stages, tolerance):
    """Whether all three parts agree; see the module's text.

    Args:
        model: The checkpoint's network.
        image: [3, H, W] uint8 BGR tensor.
        found: The graph's detections, a `contracts.Found`.
        stages: The graph's outputs and maps by name.
        tolerance: `box_px`, `score`, `mask`, `strays` and `maps` bound the differences.
    """
    inputs, _ = prepared(model, image)
    stages = {name: torch.from_numpy(stages[name]) for name in stage_names(model)}
    return (_same_maps(dict(zip(stage_names(model), maps_of(model, inputs), strict=True)), stages, tolerance)
            and _same_choice(model, found, stages, tolerance) and _same_masks(model, found, stages, tolerance))


def _same_maps(own, stages, tolerance):
    return all(float((values - stages[name]).abs().max()) <= _limit(name, values, tolerance) for name, values in own.items())


def _limit(name, values, tolerance):
    """Largest difference that a map may have; of values without bound rounding grows with them."""
    bounds = {CELL_SCORES: tolerance.score, DISTANCES: tolerance.box_px, KERNELS: tolerance.maps, FEATURES: tolerance.maps}
    limit = next(limit for start, limit in bounds.items() if name.startswith(start.format("")))
    return limit * max(1.0, float(values.abs().max()) / 100)


def _cells(model, stages):
    """What the graph's maps say of every cell: scores, per level [classes, cells], and boxes [all cells, 4]."""
    levels = range(len(model.bbox_head.prior_generator.strides))
    scores, distances = ([stages[name.format(level)] for level in levels] for name in (CELL_SCORES, DISTANCES))
    return scores, model.bbox_head.bbox_coder.decode(all_priors(model)[:, :2], torch.cat(distances, 1).T,
                                                     max_shape=model.input_size)


def _same_choice(model, found, stages, tolerance):
    config, (scores, boxes) = model.test_cfg, _cells(model, stages)
    large = ((boxes[:, 2:] - boxes[:, :2]) > config.get("min_bbox_size", -1)).all(1)
    cut = max(_cut(level.flatten(), config) for level in scores)
    scores = torch.cat(scores, 1)[:, large]
    return may_leave(found, boxes[large].expand(len(scores), -1, -1), scores, config, tolerance.box_px, cut)


def _cut(scores, config):
    """The score at which `nms_pre` ends a level's list, 0 when all fit in."""
    above = scores[scores > config.score_thr]
    return float(above.topk(config.nms_pre)[0][-1]) if len(above) > config.nms_pre else 0.0


def _same_masks(model, found, stages, tolerance):
    """Whether each mask is that of one of the three cells that are most like its detection: of cells alike either was kept."""
    if not len(found.labels):
        return True
    scores, boxes = _cells(model, stages)
    labels, own = torch.from_numpy(found.labels), torch.from_numpy(found.boxes)
    unlike = distance(own, boxes) + (torch.cat(scores, 1)[labels] - torch.from_numpy(found.scores)[:, None]).abs()
    same = torch.zeros(len(labels), dtype=torch.bool)
    for cells in unlike.topk(3, largest=False).indices.T:
        head = model.bbox_head
        logits = head._mask_predict_by_feat_single(stages[FEATURES], stages[KERNELS].T[cells], all_priors(model)[cells])
        masks = crop(logits, own, head.prior_generator.strides[0][0], head.mask_size).sigmoid()
        strays = ((masks - torch.from_numpy(found.masks)).abs() > tolerance.mask).flatten(1).float().mean(1)
        same |= strays <= tolerance.strays
    return bool(same.all())
