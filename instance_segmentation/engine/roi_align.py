"""RoIAlign as one sparse matrix, for training on the CPU.

Pooling is linear in the features and separable: what a bin takes from a row of cells does not depend on the column. So all
bins of all boxes are one sparse matrix, [R·s·s, N·H·W], and forward and backward are its products with the features and the
gradients, which MKL computes on all cores. mmcv's kernel walks over every sample of every channel on one core; the result
is the same but for rounding.
"""

import warnings

import torch
from torch import nn

# What torch says when it makes the first one; only products are used, which it has had since version 1.13
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


class SparseRoIAlign(nn.Module):
    """mmcv's RoIAlign with average pooling, aligned coordinates and as many samples per bin as it spans cells.

    Args:
        output_size: Bins per side, s.
        spatial_scale: Cells per pixel.
    """

    def __init__(self, output_size, spatial_scale):
        super().__init__()
        self.output_size, self.spatial_scale = (output_size, output_size), spatial_scale

    def forward(self, features, rois):
        """Pool.

        Args:
            features: [N, C, H, W] float32; fast when its memory is channels-last.
            rois: [R, 5], the image's index and x1 y1 x2 y2 in pixels.

        Returns:
            [R, C, s, s].
        """
        count, channels, height, width = features.shape
        bins = self.output_size[0]
        weights = _weights(rois.detach(), self.spatial_scale, bins, (count, height, width))
        pooled = _Product.apply(features.permute(0, 2, 3, 1).reshape(-1, channels), weights)
        return pooled.view(-1, bins, bins, channels).permute(0, 3, 1, 2)


class _Product(torch.autograd.Function):
    """matrix @ features; torch's own backward of it makes the transposed matrix dense."""

    @staticmethod
    def forward(ctx, features, matrix):
        ctx.matrix = matrix
        return matrix @ features

    @staticmethod
    def backward(ctx, gradient):
        return ctx.matrix.t() @ gradient.contiguous(), None


def _weights(rois, scale, bins, shape):
    """The sparse matrix [R·bins·bins, N·H·W] in CSR; `shape` is N, H, W."""
    count, height, width = shape
    left, top, right, bottom = (rois[:, 1:] * scale - 0.5).unbind(1)  # cell 0's centre is at 0
    row, share_y = _along(top, bottom - top, bins, height)
    column, share_x = _along(left, right - left, bins, width)
    cells = (rois[:, 0].long().view(-1, 1, 1, 1, 1) * height + row[:, :, None, :, None]) * width + column[:, None, :, None, :]
    shares = share_y[:, :, None, :, None] * share_x[:, None, :, None, :]  # [R, bins, bins, rows, columns]
    used = shares != 0
    ends = used.flatten(3).flatten(0, 2).sum(1).cumsum(0)
    return torch.sparse_csr_tensor(torch.cat([ends.new_zeros(1), ends]), cells[used], shares[used],
                                   size=(len(rois) * bins * bins, count * height * width), check_invariants=False)


def _along(start, length, bins, cells):
    """What each bin takes from which cells along one axis.

    Args:
        start, length: [R], of the boxes, in cells.
        bins: Number of bins per box.
        cells: Cells of the axis.

    Returns:
        Indices of cells [R, bins, K] and their shares [R, bins, K]; those of a bin sum to 1, unless it lies outside.
    """
    samples = torch.ceil(length / bins)
    number = torch.arange(max(1, int(samples.max())) if len(samples) else 1)
    inner = (number + 0.5) / samples.clamp(min=1)[:, None, None]  # of a bin's length
    position = start[:, None, None] + (torch.arange(bins)[:, None] + inner) * (length / bins)[:, None, None]
    counted = (number < samples[:, None, None]) & (position >= -1) & (position <= cells)
    position = position.clamp(0, cells - 1)
    low = position.long()
    high = (low + 1).clamp(max=cells - 1)
    first = low[..., :1]
    most = max(1, int(((high - first) * counted).max()) + 1) if counted.numel() else 1
    weight, shares = counted / samples.clamp(min=1)[:, None, None], position.new_zeros(*low.shape[:2], most)
    shares.scatter_add_(2, (low - first).clamp(max=most - 1), (1 - (position - low)) * weight)
    shares.scatter_add_(2, (high - first).clamp(max=most - 1), (position - low) * weight)
    return (first + torch.arange(most)).clamp(max=cells - 1), shares
