"""What torch cannot trace, as operators of its own with their counterparts in OpenVINO and ONNX, and what both need alike."""

import numpy as np
import torch
from mmcv.ops import nms
from openvino import Type
from openvino import opset13 as op
from openvino.frontend.pytorch import ConversionExtension
from torch.onnx.operators import shape_as_tensor
from torch.onnx.symbolic_helper import parse_args

import instance_segmentation.engine.deform_conv  # noqa: F401  registers instseg::deform_conv2d
from instance_segmentation.ir.opset import const, take


def suppress(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, score_threshold: float) -> torch.Tensor:
    """Greedy NMS, batch by batch.

    Args:
        boxes: [B, n, 4] x1 y1 x2 y2.
        scores: [B, n].
        iou_threshold: Boxes that overlap a better one more than this are dropped.
        score_threshold: Boxes are kept whose scores are higher.

    Returns:
        Rows (batch, index) [K, 2] i64; of one batch the best first.
    """
    rows = [torch.empty(0, 2, dtype=torch.int64)]
    for batch, (some, values) in enumerate(zip(boxes, scores, strict=True)):
        above = (values > score_threshold).nonzero().squeeze(1)
        if len(above):
            _, kept = nms(some[above].contiguous(), values[above].contiguous(), iou_threshold)
            rows.append(torch.stack([torch.full_like(kept, batch), above[kept]], 1))
    return torch.cat(rows)


suppressed = torch.library.custom_op("instseg::nms", suppress, mutates_args=())


def best(scores, count):
    """The `count` highest of scores [n], or all when there are fewer, and their indices."""
    return scores.topk(torch.minimum(shape_as_tensor(scores)[0], torch.tensor(count)))


def sigmoid(logits):
    """The sigmoid, rounded as torch rounds it.

    ONNX Runtime approximates its Sigmoid operator, to 2e-7: sure anchors would come in another order than in the checkpoint.
    """
    return 1 / (1 + torch.exp(-logits)) if torch.onnx.is_in_onnx_export() else logits.sigmoid()


def larger_than(boxes, size):
    """Indices of the boxes [n, 4] whose width and height are above `size`."""
    return ((boxes[:, 2:] - boxes[:, :2]).amin(1) > size).nonzero().squeeze(1)


def _openvino_nms(node):
    boxes, scores = node.get_input(0), node.get_input(1)
    iou_threshold, score_threshold = (const(node.get_values_from_const_input(index), np.float32) for index in (2, 3))
    rows = op.non_max_suppression(
        boxes, op.unsqueeze(scores, const(1)), take(op.shape_of(scores, "i64"), const(1)),  # every box may be kept
        iou_threshold, score_threshold, box_encoding="corner", sort_result_descending=True, output_type="i64").output(0)
    return take(rows, const([0, 2]), 1).outputs()


@parse_args("v", "v", "f", "f")
def _onnx_nms(g, boxes, scores, iou_threshold, score_threshold):
    def constant(values, dtype):
        return g.op("Constant", value_t=torch.tensor(values, dtype=dtype))
    rows = g.op("NonMaxSuppression", boxes, g.op("Unsqueeze", scores, constant([1], torch.int64)),
                constant([torch.iinfo(torch.int32).max], torch.int64),  # every box may be kept
                constant([iou_threshold], torch.float32), constant([score_threshold], torch.float32))
    rows = g.op("Gather", rows, constant([0, 2], torch.int64), axis_i=1)
    return rows.setType(boxes.type().with_dtype(torch.int64).with_sizes([None, 2]))  # not the number seen while tracing


def _openvino_deform_conv(node):
    x, offset, weight, mask = (node.get_input(index) for index in range(4))
    stride, padding, dilation, groups, offset_groups = (node.get_values_from_const_input(index) for index in range(4, 9))
    return op.deformable_convolution(
        x, offset, weight, stride, padding, padding, dilation, group=groups, deformable_group=offset_groups,
        mask=None if mask.get_element_type() == Type.dynamic else mask,  # torch's None has no type
        bilinear_interpolation_pad=True).outputs()  # zeros outside the map, as mmcv has them


@parse_args("v", "v", "v", "v", "is", "is", "is", "i", "i")
def _onnx_deform_conv(g, x, offset, weight, mask, stride, padding, dilation, groups, offset_groups):
    filters, _, rows, columns = weight.type().sizes()
    no_bias = g.op("Constant", value_t=torch.zeros(filters))
    more = [] if mask.node().mustBeNone() else [no_bias, mask]
    found = g.op("DeformConv", x, weight, offset, *more, kernel_shape_i=[rows, columns], strides_i=stride, pads_i=padding * 2,
                 dilations_i=dilation, group_i=groups, offset_group_i=offset_groups)
    return found.setType(x.type().with_sizes([1, filters, *offset.type().sizes()[2:]]))


OPENVINO = [ConversionExtension("instseg::nms", _openvino_nms),
            ConversionExtension("instseg::deform_conv2d", _openvino_deform_conv)]
ONNX = {"instseg::nms": _onnx_nms, "instseg::deform_conv2d": _onnx_deform_conv}
