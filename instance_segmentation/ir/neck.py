"""The finest level of a feature pyramid in fewer multiplications, for the exported graph."""

import torch
from mmdet.models.necks import FPN
from torch import nn
from torch.nn import functional


def lean_neck(neck):
    """The neck itself, or a `LeanFPN` around it where that computes the same."""
    return LeanFPN(neck) if type(neck) is FPN and _is_plain(neck) else neck


def _is_plain(neck):
    """Whether the finest level is conv3x3(conv1x1(x) + coarser level enlarged to twice its size by copying)."""
    lateral, smooth = neck.lateral_convs[0], neck.fpn_convs[0]
    bare = all(not layer.with_norm and not layer.with_activation and layer.conv.bias is not None for layer in (lateral, smooth))
    return (bare and neck.start_level == 0 and len(neck.lateral_convs) > 1 and dict(neck.upsample_cfg) == dict(mode="nearest")
            and smooth.conv.kernel_size == (3, 3) and smooth.conv.padding == (1, 1) and smooth.conv.groups == 1)


class LeanFPN(nn.Module):
    """mmdet's FPN whose finest level, the largest by far, is computed from its two inputs by one convolution each.

    Nothing non-linear stands between the 1x1 and the 3x3 convolution there, so they are multiplied out once. From the
    coarser level, enlarged by copying every value to 2×2 places, a 3x3 convolution reads the same value several times;
    a transposed 4x4 convolution with stride 2 reads it once. Results differ by rounding only.
    """

    def __init__(self, neck):
        super().__init__()
        self.neck = neck
        lateral, smooth = neck.lateral_convs[0].conv, neck.fpn_convs[0].conv
        weight = smooth.weight.detach()  # [out, channels, 3, 3]
        self.direct = nn.Parameter(torch.einsum("ockl,ci->oikl", weight, lateral.weight.detach()[:, :, 0, 0]))
        self.bias = smooth.bias
        # The 1x1 convolution's bias takes the coarser level's way: zero padding must not see it
        self.offset = nn.Parameter(lateral.bias.detach().view(1, -1, 1, 1))
        # Copying to 2×2 places and then convolving is one transposed convolution with the sum of four shifted kernels
        flipped = functional.pad(weight.transpose(0, 1).flip(2, 3), (1, 1, 1, 1))  # [channels, out, 5, 5]
        self.enlarging = nn.Parameter(sum(flipped[:, :, row:row + 4, column:column + 4] for row in (0, 1) for column in (0, 1)))

    def forward(self, features):
        """Feature maps of the backbone, finest first → pyramid levels [1, C, h, w]."""
        inputs = []
        with self.neck.fpn_convs[1].register_forward_pre_hook(lambda layer, args: inputs.append(args[0])):
            levels = self.neck(features)  # its finest level is not used, and tracing leaves it out
        (coarser,) = inputs
        if features[0].shape[2:] != torch.Size([2 * side for side in coarser.shape[2:]]):
            return levels
        finest = functional.conv2d(features[0], self.direct, self.bias, padding=1) + functional.conv_transpose2d(
            coarser + self.offset, self.enlarging, stride=2, padding=1)
        return (finest, *levels[1:])
