"""Anchors and RoIs as torchvision and Detectron count them, for networks whose weights were trained there.

mmdet's own parts fit Detectron2. What else differs between the tools is a line of a template's model.py, or is turned into
mmdet's convention when weights are imported (`foreign_weights`).
"""

import copy

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import MODELS, TASK_UTILS


@TASK_UTILS.register_module()
class TorchvisionAnchors(AnchorGenerator):
    """Anchors of torchvision's AnchorGenerator: corners on whole pixels, strides that follow from the maps' sizes.

    The coarsest map is every second cell of the one before, rounded up, and torchvision's stride is the input's side divided by
    the cells: with 800 pixels 61, not 64.
    """

    def gen_single_level_base_anchors(self, *size, **layout):
        """Anchors [A, 4] around a cell, x1 y1 x2 y2 in whole pixels."""
        return super().gen_single_level_base_anchors(*size, **layout).round()

    def grid_priors(self, featmap_sizes, *args, **kwargs):
        """Anchors of all cells per level; maps as (rows, columns), the finest is the input divided by its stride."""
        (stride_x, stride_y), (rows, columns) = self.strides[0], featmap_sizes[0]
        fitted = copy.copy(self)
        fitted.strides = [(columns * stride_x // size[1], rows * stride_y // size[0]) for size in featmap_sizes]
        return super(TorchvisionAnchors, fitted).grid_priors(featmap_sizes, *args, **kwargs)


@TASK_UTILS.register_module()
class DetectronAnchors(AnchorGenerator):
    """Anchors of Detectron's generate_anchors: a square of one stride is shaped in whole pixels first, and enlarged then.

    Detectron's boxes include their last pixel, mmdet's end behind it: [0, 15] there is [0, 16] here. So widths, areas, IoU and
    deltas are the same numbers, without its +1, and an anchor's centre, (stride - 1) / 2 there, is stride / 2 here.
    (mmdet's LegacyAnchorGenerator rounds after enlarging: sides are up to an eighth off.)
    """

    def gen_single_level_base_anchors(self, base_size, scales, ratios, center=None):
        """Anchors [A, 4] around a cell, x1 y1 x2 y2 in pixels."""
        widths = (base_size ** 2 / ratios).sqrt().round()
        heights = (widths * ratios).round()
        half = torch.stack([widths, heights], 1)[:, None] * scales[:, None] / 2  # [ratios, scales, 2]
        middle = half.new_tensor(center if center else [self.center_offset * base_size] * 2)
        return torch.cat([middle - half, middle + half], 2).flatten(0, 1)


@MODELS.register_module()
class InclusiveRoIExtractor(SingleRoIExtractor):
    """RoI features as Detectron and maskrcnn-benchmark read them: up to the last pixel's coordinate, one less than the box's end.

    A box's level follows from its area, which counts the last pixel in.
    """

    left_out = (0.0, 0.0, 1.0, 1.0)  # of a box, x1 y1 x2 y2 in pixels

    def forward(self, feats, rois, roi_scale_factor=None):
        """Features [N, C, s, s] of rois [N, 5]: image index, x1 y1 x2 y2 in pixels of the network's input."""
        return super().forward(feats, rois - rois.new_tensor((0, *self.left_out)), roi_scale_factor)

    def map_roi_levels(self, rois, num_levels):
        """Level [N] of each RoI that lacks what is left out."""
        return super().map_roi_levels(rois + rois.new_tensor((0, *self.left_out)), num_levels)
