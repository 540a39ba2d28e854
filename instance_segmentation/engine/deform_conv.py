"""mmcv's deformable convolutions as an operator of torch, so that tracing and counting see them.

mmcv calls its compiled code in a way that leaves no trace: an exported graph would hold the example's result as a constant.
"""

import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d
from mmdet.registry import MODELS
from torch.utils.flop_counter import conv_flop_count, register_flop_formula


def convolve(x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor | None, stride: list[int],
             padding: list[int], dilation: list[int], groups: int, offset_groups: int) -> torch.Tensor:
    """Convolve with a window whose points are moved.

    Args:
        x: [N, C, h, w].
        offset: [N, 2 · offset_groups · points, h', w'], down and right in pixels, for each point of the window.
        weight: [C', C / groups, rows, columns].
        mask: [N, offset_groups · points, h', w'], a factor for each point; None for 1.
        stride, padding, dilation: (vertical, horizontal).
        groups, offset_groups: Of channels that are convolved together, and moved together.

    Returns:
        [N, C', h', w'].
    """
    x, offset, weight = x.contiguous(), offset.contiguous(), weight.contiguous()  # mmcv knows no other order
    if mask is None:
        return deform_conv2d(x, offset, weight, stride, padding, dilation, groups, offset_groups)
    return modulated_deform_conv2d(
        x, offset, mask.contiguous(), weight, None, stride, padding, dilation, groups, offset_groups)


deformed = torch.library.custom_op("instseg::deform_conv2d", convolve, mutates_args=())


@deformed.register_fake
def _shape(x, offset, weight, *_):
    return x.new_empty(len(x), len(weight), *offset.shape[2:])


@register_flop_formula(torch.ops.instseg.deform_conv2d)
def _flops(x_shape, offset_shape, weight_shape, *_, out_shape=None, **__):
    """The multiplications of a plain convolution; moving the points is left out, as all interpolation is."""
    return conv_flop_count(x_shape, weight_shape, out_shape)


@MODELS.register_module("DCN")  # mmdet's registry goes before mmcv's, which has it under the same name
class TraceableDeformConv(DeformConv2dPack):
    """mmcv's layer, version 1."""

    def forward(self, x):
        """Convolve x [N, C, h, w]."""
        return _run(self, x, self.conv_offset(x), None)


@MODELS.register_module("DCNv2")
class TraceableModulatedDeformConv(ModulatedDeformConv2dPack):
    """mmcv's layer, version 2: each point has a weight of its own, too."""

    def forward(self, x):
        """Convolve x [N, C, h, w]."""
        first, second, mask = self.conv_offset(x).chunk(3, 1)
        found = _run(self, x, torch.cat([first, second], 1), mask.sigmoid())
        return found if self.bias is None else found + self.bias.view(1, -1, 1, 1)


def _run(layer, x, offset, mask):
    """Convolve by the operator, or in training by mmcv's function, which has a gradient."""
    return (convolve if layer.training else deformed)(
        x, offset, layer.weight, mask, layer.stride, layer.padding, layer.dilation, layer.groups, layer.deform_groups)
