"""mmdet's RTMDet-Ins (arXiv:2212.07784) as one network with the outputs of a Mask R-CNN, for OpenVINO and for ONNX.

Every number is read from the network itself. Each step names the mmdet function it stands for; the parity gate holds the two
together.
"""

import torch
from torch import nn

from instance_segmentation.engine.rtmdet_ins import crop
from instance_segmentation.inference.contracts import MASK_RCNN as CONTRACT
from instance_segmentation.ir.conversion import Pixels, convert, finish, outputs_of
from instance_segmentation.ir.limits import CELL_SCORES
from instance_segmentation.ir.operators import best, larger_than, sigmoid, suppressed

# Names of nodes: the network's maps, per level scores [classes, cells] (CELL_SCORES) and distances [4, cells], of all levels
# together kernels [numbers, cells], and the mask features [1, C, h, w]
DISTANCES, KERNELS, FEATURES = "cell_distances_{}", "cell_kernels", "mask_features"


def build_ir(model, channel_order="BGR"):
    """Build the graph of a checked network.

    Returns:
        An ov.Model with these outputs, N ≤ max_per_img, possibly 0: `boxes` [N, 5] x1 y1 x2 y2 in pixels of the input and
        score, `labels` [N] i64, 0-based, `masks` [N, m, m] probabilities inside the box.
    """
    whole = convert(Whole(model, reverse=channel_order == "RGB"), torch.rand(1, 3, *model.input_size))
    values = dict(zip((*CONTRACT.outputs, *stage_names(model)), outputs_of(whole), strict=True))
    for name in stage_names(model):
        values[name].get_node().set_friendly_name(name)
    return finish(whole, "rtmdet_ins", **{name: values[name] for name in CONTRACT.outputs})


def stage_names(model):
    """Names of the network's maps, in their order."""
    levels = range(len(model.bbox_head.prior_generator.strides))
    return [*map(CELL_SCORES.format, levels), *map(DISTANCES.format, levels), KERNELS, FEATURES]


def grid_size(model, level):
    """Rows and columns of a level's cells."""
    stride_w, stride_h = model.bbox_head.prior_generator.strides[level]
    return model.input_size[0] // stride_h, model.input_size[1] // stride_w


def all_priors(model):
    """Cells' places and strides, [cells, 4] float32: x y in pixels of the input, horizontal and vertical stride."""
    prior_generator = model.bbox_head.prior_generator
    sizes = [grid_size(model, level) for level in range(len(prior_generator.strides))]
    return torch.cat(prior_generator.grid_priors(sizes, device="cpu", with_stride=True))


class Whole(nn.Module):
    """The network with the data preprocessor in front, up to boxes, labels, masks and the maps of `stage_names`."""

    def __init__(self, model, reverse):
        super().__init__()
        self.model, self.pixels = model, Pixels(model, reverse)
        self.register_buffer("priors", all_priors(model))
        self.register_buffer("limits", torch.tensor(model.input_size[::-1] * 2, dtype=torch.float32))
        places = model.bbox_head.prior_generator.single_level_grid_priors(grid_size(model, 0), 0, device="cpu").t()
        self.register_buffer("places", torch.cat([places, torch.ones_like(places[:1])]))

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → boxes [N, 5], labels [N], masks [N, m, m], then the maps."""
        maps = maps_of(self.model, self.pixels(image))
        levels = len(self.model.bbox_head.prior_generator.strides)
        kernels, features = maps[2 * levels:]
        labels, cells, scores = self.candidates(maps[:levels])
        boxes = self.decode(torch.cat(maps[levels:2 * levels], 1), cells)
        labels, cells, scores, boxes = self.suppress(labels, cells, scores, boxes)
        masks = self.masks(kernels.index_select(1, cells).t(), self.priors[cells], boxes, features)
        return torch.cat([boxes, scores[:, None]], 1), labels, masks, *maps

    def candidates(self, levels):
        """Pairs of class and cell above the threshold, the best `nms_pre` of each level (filter_scores_and_topk).

        Args:
            levels: Per level, scores [classes, cells].

        Returns:
            Labels [K] and cells [K] i64, counted over all levels, and scores [K].
        """
        config, found, start = self.model.test_cfg, [], 0
        for scores in levels:
            cells = int(scores.shape[1])
            pairs = (scores > config.score_thr).flatten().nonzero().squeeze(1)
            values, order = best(scores.flatten()[pairs], config.nms_pre)
            found.append((pairs[order] // cells, pairs[order] % cells + start, values))
            start += cells
        return [torch.cat(parts) for parts in zip(*found, strict=True)]

    def decode(self, distances, cells):
        """Boxes [K, 4] of cells [K], clipped to the input (DistancePointBBoxCoder).

        Args:
            distances: [4, all cells], from the cell's place to the box's left, top, right and bottom.
            cells: Indices.
        """
        places, distances = self.priors[cells][:, :2], distances.index_select(1, cells).t()
        boxes = torch.cat([places - distances[:, :2], places + distances[:, 2:]], 1)
        return torch.minimum(boxes.clamp(min=0), self.limits)

    def suppress(self, labels, cells, scores, boxes):
        """NMS per class; returns the arguments' rows that are left, best first (mmcv's batched_nms)."""
        config, rows = self.model.test_cfg, (labels, cells, scores, boxes)
        if config.get("min_bbox_size", -1) >= 0:
            large = larger_than(boxes, config.min_bbox_size)
            rows = labels, cells, scores, boxes = [values[large] for values in rows]
        # each class is moved to a place of its own: with mmcv's way to do it, rounding is the same, too
        reach = torch.cat([boxes, boxes.new_zeros(1, 4)]).max() + 1
        apart = boxes + (labels.float() * reach)[:, None]
        kept = suppressed(apart[None], scores[None], config.nms.iou_threshold, config.score_thr)[:config.max_per_img, 1]
        return [values[kept] for values in rows]

    def masks(self, kernels, priors, boxes, features):
        """Masks by dynamic convolutions: each detection brings the weights of its own 1×1 convolutions.

        The first layer sees the same pixels for all detections but for its two coordinates, which are relative to the
        detection's place. Written out, w·(place - pixel) is a number for each detection minus w·pixel: one matrix product for
        all detections.

        Args:
            kernels: [N, numbers], all layers' weights, then all layers' biases.
            priors: [N, 4] x y and strides.
            boxes: [N, 4] x1 y1 x2 y2 in pixels of the input.
            features: [1, C, h, w].

        Returns:
            Probabilities [N, m, m].
        """
        head, grid = self.model.bbox_head, grid_size(self.model, 0)
        parts = kernels.split([*head.weight_nums, *head.bias_nums], 1)
        weights, biases = parts[:head.num_dyconvs], parts[head.num_dyconvs:]
        places, look = weights[0].reshape(-1, head.dyconv_channels, head.num_prototypes + 2).split([2, head.num_prototypes], 2)
        places = places / (priors[:, None, 2:3] * 8)
        offset = (places * priors[:, None, :2]).sum(2) + biases[0]
        rows = torch.cat([-places, offset[:, :, None], look], 2).reshape(-1, head.num_prototypes + 3)
        values = rows @ torch.cat([self.places, features[0].flatten(1)])
        values = values.reshape(-1, head.dyconv_channels, grid[0] * grid[1])
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            values = weight.reshape(-1, bias.shape[1], head.dyconv_channels) @ values.relu() + bias[:, :, None]
        return crop(values.reshape(-1, *grid), boxes, head.prior_generator.strides[0][0], head.mask_size).sigmoid()


def maps_of(model, inputs):
    """The maps of `stage_names` for a normalised image [1, 3, H, W], as a tuple."""
    scores, distances, kernels, features = model.bbox_head(model.extract_feat(inputs))
    flat = [[level[0].flatten(1) for level in levels] for levels in (scores, distances, kernels)]
    return (*map(sigmoid, flat[0]), *flat[1], torch.cat(flat[2], 1), features)
