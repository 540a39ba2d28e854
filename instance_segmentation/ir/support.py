"""Which networks can be exported: every part that the graph builder takes for granted is checked by name."""

from instance_segmentation.engine.stages import stages_of
from instance_segmentation.errors import ExportError
from instance_segmentation.inference.contracts import YOLACT_MOST, YOLACT_NMS_IOU

ROI_HEADS = ("StandardRoIHead", "CascadeRoIHead", "PointRendRoIHead", "LeanPointRendRoIHead")


def check(model, target="OpenVINO"):
    """Refuse a network that the graph builder would get wrong.

    Args:
        model: An mmdet detector.
        target: What it shall become, `OpenVINO` or `ONNX`.

    Raises:
        ExportError: Names every unsupported part, its value, and what is supported.
    """
    problems = [f"{part}: got {got}, supported: {expected}" for part, got, expected in _differences(model)]
    if problems:
        raise ExportError("this network cannot be exported to " + target + ":\n  " + "\n  ".join(problems))


def _differences(model):
    """Yield (part, what the network has, what is supported) for everything unsupported."""
    one_stage = dict(ContractYOLACT=_yolact_differences, RTMDet=_rtmdet_ins_differences).get(type(model).__name__)
    if one_stage:
        yield from one_stage(model)
        return
    rpn, heads = getattr(model, "rpn_head", None), getattr(model, "roi_head", None)
    if type(rpn).__name__ != "RPNHead" or type(heads).__name__ not in ROI_HEADS or not heads.with_mask:
        yield ("model", type(model).__name__,
               "MaskRCNN or CascadeRCNN with RPNHead and a mask head, ContractYOLACT, RTMDet with BoxMaskRTMDetHead")
        return
    yield from _layer_differences(model.backbone)
    yield from _rpn_differences(rpn)
    boxes, masks = (stages_of(heads, kind) for kind in ("bbox", "mask"))
    for stage in boxes:
        yield from _box_differences(stage.head, last=stage is boxes[-1])
        yield from _extractor_differences("roi_head.bbox_roi_extractor", stage.extractor)
    points = type(getattr(heads, "point_head", None)).__name__
    if points not in ("NoneType", "MaskPointHead"):
        yield "roi_head.point_head", points, "MaskPointHead; export.py --coarse-masks leaves it out"
    for stage in masks:
        if not _is_coarse(stage):
            yield from _mask_differences(stage.head)
            yield from _extractor_differences("roi_head.mask_roi_extractor", stage.extractor)
    for name in ("rpn", "rcnn"):
        yield from _nms_differences(f"test_cfg.{name}.nms", model.test_cfg[name].get("nms"))


def _yolact_differences(model):
    head, config = model.bbox_head, model.test_cfg
    if head.use_sigmoid_cls:
        yield "bbox_head.loss_cls.use_sigmoid", True, False
    yield from _coder_differences("bbox_head.bbox_coder", head.bbox_coder)
    if (config.iou_thr, config.max_per_img) != (YOLACT_NMS_IOU, YOLACT_MOST):
        yield ("test_cfg.iou_thr and max_per_img", f"{config.iou_thr} and {config.max_per_img}",
               f"{YOLACT_NMS_IOU} and {YOLACT_MOST}, which those who read YOLACT's outputs take")


def _rtmdet_ins_differences(model):
    head = model.bbox_head
    if type(head).__name__ != "BoxMaskRTMDetHead":
        yield "bbox_head", type(head).__name__, "BoxMaskRTMDetHead"
        return
    if not head.use_sigmoid_cls:
        yield "bbox_head.loss_cls.use_sigmoid", False, True
    if type(head.bbox_coder).__name__ != "DistancePointBBoxCoder" or not head.bbox_coder.clip_border:
        yield "bbox_head.bbox_coder", type(head.bbox_coder).__name__, "DistancePointBBoxCoder with clip_border"
    yield from _nms_differences("test_cfg.nms", model.test_cfg.get("nms"))


def _rpn_differences(rpn):
    if not rpn.use_sigmoid_cls:
        yield "rpn_head.loss_cls.use_sigmoid", False, True
    yield from _coder_differences("rpn_head.bbox_coder", rpn.bbox_coder)


def _layer_differences(backbone):
    from mmcv.ops import DeformConv2d, ModulatedDeformConv2d

    from instance_segmentation.engine.deform_conv import TraceableDeformConv, TraceableModulatedDeformConv
    for layer in backbone.modules():
        if (isinstance(layer, (DeformConv2d, ModulatedDeformConv2d))
                and not isinstance(layer, (TraceableDeformConv, TraceableModulatedDeformConv))):
            yield "backbone", type(layer).__name__, "dcn of type DCN or DCNv2"
            return


def _is_coarse(stage):
    """Whether a stage is PointRend's coarse head on points of one level."""
    from mmdet.models.roi_heads.mask_heads import CoarseMaskHead
    layers = getattr(stage.extractor, "roi_layers", ())
    return (isinstance(stage.head, CoarseMaskHead) and type(stage.extractor).__name__ == "GenericRoIExtractor"
            and [type(layer).__name__ for layer in layers] == ["SimpleRoIAlign"])


def _box_differences(head, last):
    if not (hasattr(head, "fc_cls") and hasattr(head, "fc_reg")) or head.custom_cls_channels:
        yield "roi_head.bbox_head", type(head).__name__, "Shared2FCBBoxHead with softmax"
    if not (last or head.reg_class_agnostic):
        yield "roi_head.bbox_head.reg_class_agnostic", False, "True in each stage of a cascade but the last"
    yield from _coder_differences("roi_head.bbox_head.bbox_coder", head.bbox_coder)


def _mask_differences(head):
    from mmdet.models.roi_heads.mask_heads import CoarseMaskHead, FCNMaskHead
    if not isinstance(head, FCNMaskHead) or isinstance(head, CoarseMaskHead):
        yield "roi_head.mask_head", type(head).__name__, "FCNMaskHead"
    elif type(head.conv_logits).__name__ != "Conv2d":
        yield "roi_head.mask_head.predictor_cfg", type(head.conv_logits).__name__, "type='Conv'"


def _coder_differences(part, coder):
    if type(coder).__name__ != "DeltaXYWHBBoxCoder":
        yield part, type(coder).__name__, "DeltaXYWHBBoxCoder"
    elif coder.add_ctr_clamp or not coder.clip_border:
        yield part, f"add_ctr_clamp={coder.add_ctr_clamp}, clip_border={coder.clip_border}", "False and True"


def _extractor_differences(part, extractor):
    if type(extractor).__name__ not in ("SingleRoIExtractor", "InclusiveRoIExtractor"):
        yield part, type(extractor).__name__, "SingleRoIExtractor, InclusiveRoIExtractor"
        return
    for layer in extractor.roi_layers:
        if type(layer).__name__ != "RoIAlign" or layer.pool_mode != "avg":
            yield f"{part}.roi_layer", type(layer).__name__, "RoIAlign with pool_mode='avg'"
            return


def _nms_differences(part, nms):
    nms = dict(nms or {})
    if nms.pop("type", "nms") != "nms" or set(nms) - {"iou_threshold", "split_thr"}:
        yield part, dict(nms), "type='nms' with iou_threshold"
