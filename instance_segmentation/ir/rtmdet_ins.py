"""mmdet's RTMDet-Ins (arXiv:2212.07784) as one OpenVINO graph, with the outputs of a Mask R-CNN.

Every number is read from the network itself. Each step names the mmdet function it stands for; the parity gate holds the two
together.
"""

import numpy as np
import torch
from openvino import opset13 as op
from torch import nn

from instance_segmentation.engine.rtmdet_ins import crop
from instance_segmentation.inference.contracts import MASK_RCNN as CONTRACT  # noqa: F401  the exporter asks for it
from instance_segmentation.ir.conversion import Pixels, convert, feed, finish, outputs_of
from instance_segmentation.ir.opset import columns, const, first, larger_than, length, split, take

# Names of nodes: the network's maps, per level scores [classes, cells] and distances [4, cells], of all levels together kernels
# [numbers, cells], and the mask features [1, C, h, w]
SCORES, DISTANCES, KERNELS, FEATURES = "cell_scores_{}", "cell_distances_{}", "cell_kernels", "mask_features"


def build_ir(model, channel_order="BGR"):
    """Build the graph of a checked network.

    Returns:
        An ov.Model with these outputs, N ≤ max_per_img, possibly 0: `boxes` [N, 5] x1 y1 x2 y2 in pixels of the input and
        score, `labels` [N] i64, 0-based, `masks` [N, m, m] probabilities inside the box.
    """
    head = model.bbox_head
    trunk = convert(Trunk(model, reverse=channel_order == "RGB"), torch.rand(1, 3, *model.input_size))
    maps = dict(zip(map_names(model), outputs_of(trunk), strict=True))
    for name, value in maps.items():
        value.get_node().set_friendly_name(name)
    levels = range(len(head.prior_generator.strides))
    labels, cells, scores = candidates(model, [maps[SCORES.format(level)] for level in levels])
    boxes = decode(model, op.concat([maps[DISTANCES.format(level)] for level in levels], 1), cells)
    labels, cells, scores, boxes = suppress(model, labels, cells, scores, boxes)
    chosen = op.transpose(take(maps[KERNELS], cells, 1), const([1, 0]))
    mask_head = convert(MaskHead(model), torch.rand(4, head.num_gen_params), torch.rand(4, 4) + 8, torch.rand(4, 4),
                        torch.rand(1, head.num_prototypes, *grid_size(model, 0)))
    priors = take(const(all_priors(model)), cells)
    (masks,) = feed(mask_head, *(value.output(0) for value in (chosen, priors, boxes)), maps[FEATURES])
    rows = op.concat([boxes, op.unsqueeze(scores, const(1))], 1)
    return finish(trunk, "rtmdet_ins", boxes=rows.output(0), labels=labels.output(0), masks=masks)


def map_names(model):
    """Names of the network's maps, in the order of `Trunk`'s outputs."""
    levels = range(len(model.bbox_head.prior_generator.strides))
    return [*map(SCORES.format, levels), *map(DISTANCES.format, levels), KERNELS, FEATURES]


def grid_size(model, level):
    """Rows and columns of a level's cells."""
    stride_w, stride_h = model.bbox_head.prior_generator.strides[level]
    return model.input_size[0] // stride_h, model.input_size[1] // stride_w


def all_priors(model):
    """Cells' places and strides, [cells, 4] float32: x y in pixels of the input, horizontal and vertical stride."""
    prior_generator = model.bbox_head.prior_generator
    sizes = [grid_size(model, level) for level in range(len(prior_generator.strides))]
    return torch.cat(prior_generator.grid_priors(sizes, device="cpu", with_stride=True)).numpy()


def candidates(model, scores):
    """Pairs of class and cell above the threshold, the best `nms_pre` of each level (filter_scores_and_topk).

    Args:
        model: The detector.
        scores: Per level, [classes, cells].

    Returns:
        Labels [K] and cells [K] i64, counted over all levels, and scores [K].
    """
    config, levels, start = model.test_cfg, [], 0
    for level in scores:
        pairs = op.transpose(op.non_zero(op.greater(level, const(config.score_thr, np.float32)), "i64"), const([1, 0]))
        values = op.gather_nd(level, pairs)
        best = op.topk(values, op.minimum(const(config.nms_pre), length(values)), 0, "max", "value", index_element_type="i64")
        pairs = op.add(take(pairs, best.output(1)), const([0, start]))
        levels.append((pairs, best.output(0)))
        start += int(level.get_shape()[1])
    pairs, values = (op.concat([level[part] for level in levels], 0) for part in (0, 1))
    return *(op.squeeze(column, const([1])) for column in (columns(pairs, 0, 1), columns(pairs, 1, 2))), values


def decode(model, distances, cells):
    """Boxes [K, 4] of cells [K], clipped to the input (DistancePointBBoxCoder).

    Args:
        model: The detector.
        distances: [4, all cells], from the cell's place to the box's left, top, right and bottom.
        cells: [K] indices.
    """
    height, width = model.input_size
    left, top, right, bottom = split(op.transpose(take(distances, cells, 1), const([1, 0])), 1)
    x, y = (take(const(all_priors(model)[:, axis:axis + 1]), cells) for axis in (0, 1))
    ends = ((x, left, op.subtract, width), (y, top, op.subtract, height), (x, right, op.add, width), (y, bottom, op.add, height))
    return op.concat([op.clamp(combine(place, distance), 0, limit) for place, distance, combine, limit in ends], 1)


def suppress(model, labels, cells, scores, boxes):
    """NMS per class; returns the arguments' rows that are left, best first (mmcv's batched_nms)."""
    config, rows = model.test_cfg, (labels, cells, scores, boxes)
    if config.get("min_bbox_size", -1) >= 0:
        rows = [take(values, larger_than(boxes, config.min_bbox_size)) for values in rows]
    labels, cells, scores, boxes = rows
    # each class is moved to a place of its own: with mmcv's way to do it, rounding is the same, too
    reach = op.add(op.reduce_max(boxes, const([0, 1]), False), const(1.0, np.float32))
    apart = op.add(boxes, op.unsqueeze(op.multiply(op.convert(labels, "f32"), reach), const(1)))
    kept = op.non_max_suppression(
        op.unsqueeze(apart, const(0)), op.unsqueeze(scores, const([0, 1])), length(scores),
        const(config.nms.iou_threshold, np.float32), const(config.score_thr, np.float32), box_encoding="corner",
        sort_result_descending=True, output_type="i64").output(0)  # rows 0, 0, candidate
    kept = op.squeeze(columns(first(kept, config.max_per_img), 2, 3), const([1]))
    return [take(values, kept) for values in rows]


class Trunk(nn.Module):
    """The network up to its maps, with the data preprocessor in front."""

    def __init__(self, model, reverse):
        super().__init__()
        self.model, self.pixels = model, Pixels(model, reverse)

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → the maps of `map_names`."""
        return maps_of(self.model, self.pixels(image))


def maps_of(model, inputs):
    """The maps of `map_names` for a normalised image [1, 3, H, W], as a tuple."""
    scores, distances, kernels, features = model.bbox_head(model.extract_feat(inputs))
    flat = [[level[0].flatten(1) for level in levels] for levels in (scores, distances, kernels)]
    return (*(level.sigmoid() for level in flat[0]), *flat[1], torch.cat(flat[2], 1), features)


class MaskHead(nn.Module):
    """Masks by dynamic convolutions: each detection brings the weights of its own 1×1 convolutions.

    The first layer sees the same pixels for all detections but for its two coordinates, which are relative to the detection's
    place. Written out, w·(place - pixel) is a number for each detection minus w·pixel: one matrix product for all detections.
    """

    def __init__(self, model):
        super().__init__()
        self.head, generator = model.bbox_head, model.bbox_head.prior_generator
        self.grid = grid_size(model, 0)
        places = generator.single_level_grid_priors(self.grid, 0, device="cpu").t()
        self.register_buffer("places", torch.cat([places, torch.ones_like(places[:1])]))

    def forward(self, kernels, priors, boxes, features):
        """Probabilities [N, m, m].

        Args:
            kernels: [N, numbers], all layers' weights, then all layers' biases.
            priors: [N, 4] x y and strides.
            boxes: [N, 4] x1 y1 x2 y2 in pixels of the input.
            features: [1, C, h, w].
        """
        head = self.head
        parts = kernels.split([*head.weight_nums, *head.bias_nums], 1)
        weights, biases = parts[:head.num_dyconvs], parts[head.num_dyconvs:]
        places, look = weights[0].reshape(-1, head.dyconv_channels, head.num_prototypes + 2).split([2, head.num_prototypes], 2)
        places = places / (priors[:, None, 2:3] * 8)
        offset = (places * priors[:, None, :2]).sum(2) + biases[0]
        rows = torch.cat([-places, offset[:, :, None], look], 2).reshape(-1, head.num_prototypes + 3)
        values = rows @ torch.cat([self.places, features[0].flatten(1)])
        values = values.reshape(-1, head.dyconv_channels, self.grid[0] * self.grid[1])
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            values = weight.reshape(-1, bias.shape[1], head.dyconv_channels) @ values.relu() + bias[:, :, None]
        return crop(values.reshape(-1, *self.grid), boxes, head.prior_generator.strides[0][0], head.mask_size).sigmoid()
