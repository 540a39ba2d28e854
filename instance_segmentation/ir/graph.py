"""A network as an OpenVINO graph: which module builds it."""

from typing import NamedTuple

from instance_segmentation.inference.resizing import Resize
from instance_segmentation.ir import mask_rcnn, rtmdet_ins, yolact
from instance_segmentation.ir.support import check


def family_of(model):
    """The module that knows how a kind of mmdet detector becomes a graph: `build_ir`, and its outputs' CONTRACT."""
    return {"ContractYOLACT": yolact, "RTMDet": rtmdet_ins}.get(type(model).__name__, mask_rcnn)


class Thresholds(NamedTuple):
    """What a network's test config says: lowest score, IoU of NMS, probability from which a pixel belongs to the object."""

    score: float
    iou: float
    mask: float


def thresholds_of(model):
    """The Thresholds of an mmdet detector."""
    config = model.test_cfg.get("rcnn", model.test_cfg)
    return Thresholds(config.score_thr, config.get("iou_thr") or config.nms.iou_threshold, config.mask_thr_binary)


def resize_of(model):
    """How images become the network's input, a Resize."""
    return Resize(model.resize_type, model.input_size, pad_value=model.pad_value)


def build_ir(model, channel_order="BGR"):
    """Build the graph of a detector.

    Args:
        model: mmdet detector in eval mode with `input_size` (h, w).
        channel_order: Order of the channels that clients will send, `BGR` or `RGB`.

    Returns:
        An ov.Model without rt_info: input `image` [1, 3, H, W] f32, 0…255, outputs as the family's `build_ir` says.

    Raises:
        ExportError: A part of the network has no counterpart here.
    """
    check(model)
    return family_of(model).build_ir(model, channel_order)
