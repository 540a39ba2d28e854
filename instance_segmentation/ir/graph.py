"""A network as an OpenVINO graph: which module builds it."""

from typing import NamedTuple

from instance_segmentation.errors import ExportError
from instance_segmentation.inference.resizing import Resize
from instance_segmentation.ir import mask_rcnn, rtmdet_ins, segmentoly, yolact
from instance_segmentation.ir.support import check


def family_of(model, two_inputs=False):
    """The module that knows how a kind of mmdet detector becomes a graph: `build_ir`, and its outputs' CONTRACT.

    Args:
        model: The detector.
        two_inputs: Whether the graph shall be Segmentoly's.

    Raises:
        ExportError: Segmentoly has no such detector.
    """
    family = {"ContractYOLACT": yolact, "RTMDet": rtmdet_ins}.get(type(model).__name__, mask_rcnn)
    if not two_inputs:
        return family
    if family is not mask_rcnn:
        raise ExportError(f"--segmentoly: is for Mask R-CNN, but the network is a {type(model).__name__}; leave the flag out")
    if getattr(model.roi_head, "point_head", None) is not None:
        raise ExportError("--segmentoly: is for masks of all classes, but PointRend's point head refines each object's own; add "
                          "--coarse-masks, or leave the flag out")
    return segmentoly


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


def build_ir(model, channel_order="BGR", two_inputs=False):
    """Build the graph of a detector.

    Args:
        model: mmdet detector in eval mode with `input_size` (h, w).
        channel_order: Order of the channels that clients will send, `BGR` or `RGB`.
        two_inputs: Make it Segmentoly's graph, see `segmentoly.build_ir`.

    Returns:
        An ov.Model without rt_info: input `image` [1, 3, H, W] f32, 0…255, outputs as the family's `build_ir` says.

    Raises:
        ExportError: A part of the network has no counterpart here.
    """
    check(model)
    return family_of(model, two_inputs).build_ir(model, channel_order)
