"""PointRend's masks (arXiv:1912.08193) as layers: features at points, the coarse head, and the point head that refines its masks.

Points are x and y, either as shares of a box (0…1) or as places in pixels of the network's input.
"""

import torch
from torch import nn
from torch.nn import functional


def middles(cells, size_hw):
    """Middles of cells (…), counted row by row in a grid of this size, as shares of the grid (…, 2)."""
    height, width = size_hw
    x, y = cells % width, torch.div(cells, width, rounding_mode="floor")
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height], -1)


def places_in(boxes, points):
    """Points [N or 1, P, 2] of boxes [N, 4] as places [N, P, 2]."""
    corner = boxes[:, None, :2]
    return corner + points * (boxes[:, None, 2:] - corner)


def at_places(feature, places, stride, align_corners=False):
    """A feature map [1, C, h, w] at places [N, P, 2], interpolated between its cells: [N, C, P]."""
    height, width = (int(side) for side in feature.shape[2:])
    grid = 2 * places / torch.tensor([stride * width, stride * height]) - 1
    return functional.grid_sample(feature, grid[None], align_corners=align_corners)[0].transpose(0, 1)


class PointSamples(nn.Module):
    """mmcv's SimpleRoIAlign as a layer: the feature map [1, C, h, w] at the middles of equal parts of boxes [N, 4]."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, feature, boxes):
        """Return crops [N, C, s, s]."""
        rows, columns = self.layer.output_size
        points = middles(torch.arange(rows * columns), (rows, columns))
        found = at_places(feature, places_in(boxes, points[None]), 1 / self.layer.spatial_scale, not self.layer.aligned)
        return found.reshape(-1, int(feature.shape[1]), rows, columns)


class CoarseMask(nn.Module):
    """The coarse head: fully connected, so that all classes' masks come at once."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, crops, labels):
        """RoI features [N, C, s, s] and labels [N] → probabilities [N, m, m] of the labels' masks."""
        return own(self.head(crops), labels)[:, 0].sigmoid()


def own(logits, labels):
    """Of logits [N, classes, m, m] those of the labels [N]: [N, 1, m, m]."""
    height, width = (int(side) for side in logits.shape[2:])
    return logits.gather(1, labels[:, None, None, None].expand(-1, 1, height, width))


class RefinedMask(nn.Module):
    """The coarse head's masks, enlarged step by step, and computed anew by the point head in the cells that are least sure.

    PointRendRoIHead._mask_point_forward_test for the labels' masks alone: the other classes' masks are enlarged and refined there
    too, 80 of 224×224 for each detection, but say nothing about these.
    """

    def __init__(self, roi_head):
        super().__init__()
        self.coarse, self.head, self.config = roi_head.mask_head, roi_head.point_head, roi_head.test_cfg
        self.strides = roi_head.mask_roi_extractor.featmap_strides
        self.own = nn.Embedding.from_pretrained(self.head.fc_logits.weight.flatten(1))  # [classes, C]
        self.bias = nn.Embedding.from_pretrained(self.head.fc_logits.bias[:, None])

    def forward(self, crops, labels, boxes, *features):
        """RoI features [N, C, s, s], labels [N], boxes [N, 4] and feature maps [1, C, h, w] → probabilities [N, m, m]."""
        coarse, steps, factor = self.coarse(crops), self.config.subdivision_steps, self.config.scale_factor
        logits = own(coarse, labels)
        for step in range(steps):
            logits = functional.interpolate(logits, scale_factor=factor, mode="bilinear", align_corners=False)
            height, width = (int(side) for side in logits.shape[2:])  # N alone varies
            following = factor ** 2 * height * width
            if self.config.subdivision_num_points < following or step == steps - 1:
                cells = self._least_sure(logits.reshape(-1, height * width))
                found = self._at_points(middles(cells, (height, width)), coarse, labels, boxes, features)
                logits = logits.reshape(-1, height * width).scatter(1, cells, found).reshape(-1, 1, height, width)
        return logits[:, 0].sigmoid()

    def _least_sure(self, logits):
        """Indices [N, P] of the logits [N, m · m] next to 0."""
        count = min(self.config.subdivision_num_points, int(logits.shape[1]))
        return logits.abs().topk(count, largest=False, sorted=False).indices

    def _at_points(self, points, coarse, labels, boxes, features):
        """The point head's logits [N, P] of the labels' masks at points [N, P, 2] of the boxes."""
        masks = functional.grid_sample(coarse, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]  # [N, classes, P]
        places = places_in(boxes, points)
        hidden = torch.cat([*(at_places(feature, places, stride) for feature, stride in zip(features, self.strides, strict=True)),
                            masks], 1)
        for layer in self.head.fcs:
            hidden = layer(hidden)
            if self.head.coarse_pred_each_layer:
                hidden = torch.cat([hidden, masks], 1)
        return (self.own(labels)[:, None] @ hidden + self.bias(labels)[:, None])[:, 0]
