"""Random networks that speak: without training, yet with scores, boxes and masks spread like a trained network's.

A freshly initialised detector gives every anchor the same score (its signals fade layer by layer), so which boxes survive
is decided by rounding and nothing can be compared. Here the neck's inputs and every head are scaled to a stated spread.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

TEMPLATES = Path(__file__).resolve().parents[2] / "model_templates"


def speaking_network(classes, size_hw=(128, 160), template="480x480", seed=0, **overrides):
    """Build a template's network with random weights that speak.

    Args:
        classes: Class names.
        size_hw: Input height and width.
        template: What the name of its folder ends in, for example `480x480` or `576x576`.
        seed: Of weights and calibration images.
        overrides: Dotted config keys with `__` for the dots, for example `model__test_cfg__rcnn__score_thr=0.3`.
    """
    from instance_segmentation.engine import register
    from instance_segmentation.engine.config import read_config, set_classes, set_input_size
    from instance_segmentation.engine.network import build_network
    register()
    (folder,) = TEMPLATES.glob(f"*/*{template}")
    cfg = read_config(folder / "model.py")
    set_classes(cfg, classes)
    set_input_size(cfg, size_hw)
    cfg.merge_from_dict({key.replace("__", "."): value for key, value in overrides.items()})
    torch.manual_seed(seed)
    model = build_network(cfg, classes)
    speak_up(model, np.stack([photo_like(size_hw, seed + index) for index in range(2)]))
    return model


def photo_like(size_hw, seed):
    """A BGR uint8 image [H, W, 3] with structure at all scales."""
    random, (height, width) = np.random.default_rng(seed), size_hw
    image = sum(cv2.resize(random.normal(0, 110 / level, (2 ** level + 1, 2 ** level + 1, 3)), (width, height),
                           interpolation=cv2.INTER_CUBIC) for level in range(1, 7))
    return np.clip(image + 120 + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def letterboxed(file, size_hw):
    """The batch that the test pipeline of such a template makes of a file."""
    from mmcv.transforms import Compose
    from mmdet.registry import TRANSFORMS
    height, width = size_hw
    steps = [dict(type="LoadImageFromFile"), dict(type="FitToWindow", scale=(width, height)),
             dict(type="Pad", size=(width, height), pad_val=dict(img=(114, 114, 114))),
             dict(type="PackDetInputs", meta_keys=("ori_shape", "img_shape", "scale_factor"))]
    packed = Compose([TRANSFORMS.build(dict(step, _scope_="mmdet")) for step in steps])(dict(img_path=str(file)))
    return dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])


@torch.inference_mode()
def check_letterbox(network, xml, photo):
    """mmdet's pipeline with the checkpoint; the same with the IR; the demo, which letterboxes by what the IR says."""
    from instance_segmentation.inference.exported import LoadOptions, load_exported
    from instance_segmentation.ir.detector import ExportedDetector
    image = cv2.imread(str(photo))
    expected = network.test_step(letterboxed(photo, network.input_size))[0].pred_instances
    found = ExportedDetector(xml).test_step(letterboxed(photo, network.input_size))[0].pred_instances
    shown = load_exported(xml, LoadOptions(threshold=0.0))(image)
    assert len(expected) > 5 and (expected.bboxes <= torch.tensor(image.shape[1::-1] * 2)).all()
    for boxes, scores, rles in ((found.bboxes, found.scores, found.masks), (shown.boxes, shown.scores, shown.rles)):
        np.testing.assert_allclose(boxes, expected.bboxes, atol=0.05)
        np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
        assert min(coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(rles, expected.masks, strict=True)
                   if coco_mask.area(other) > 50) > 0.98


@torch.no_grad()
def speak_up(model, images_bgr):
    """Scale a random network's layers, in place, so that its outputs spread like a trained one's."""
    two_stages = hasattr(model, "roi_head")
    if not (two_stages or hasattr(model.neck, "lateral_convs")):
        images_bgr = _of_all_shapes(model)
    images = torch.from_numpy(images_bgr).permute(0, 3, 1, 2).float()
    images = (images - model.data_preprocessor.mean) / model.data_preprocessor.std
    if two_stages and type(model.backbone).__name__ == "ResNet":
        _normalise(model.backbone, lambda: model.backbone(images))
    if model.with_neck and hasattr(model.neck, "lateral_convs"):
        trunk = model.backbone(images)
        for lateral, level in zip(model.neck.lateral_convs, trunk[model.neck.start_level:], strict=True):
            _scale(lateral.conv, lambda lateral=lateral, level=level: [lateral(level)], 1.0)
    elif not two_stages:
        _normalise(model, lambda: model.bbox_head(model.extract_feat(images)))
    features = model.extract_feat(images)
    family = dict(ContractYOLACT=_speak_up_yolact, RTMDet=_speak_up_rtmdet_ins)
    family.get(type(model).__name__, _speak_up_two_stages)(model, features, images.shape[2:])


def _of_all_shapes(model):
    """Many images as the model's resize makes them: attention sees the whole image, and one or two would all look alike."""
    from instance_segmentation.ir.graph import resize_of
    height, width = model.input_size
    shapes = [(height, width), (height, width // 2), (height // 2, width)]
    return np.stack([resize_of(model)(photo_like(shapes[seed % 3], seed))[0] for seed in range(18)])


def _normalise(model, run):
    """Give every BatchNorm the statistics of what `run` computes, so that signals neither fade nor grow layer by layer."""
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    run()
    for layer in norms:
        layer.eval()


def _speak_up_rtmdet_ins(model, features, size_hw):
    head = model.bbox_head
    for level in range(len(head.rtm_cls)):
        _scale(head.rtm_cls[level], lambda level=level: [head(features)[0][level]], 1.0, -3.3)
        _scale(head.rtm_reg[level], lambda level=level: [_before_relu(head, features, level)], 0.5, 1.5)
        _scale(head.rtm_kernel[level], lambda level=level: [head(features)[2][level]], 0.7)
    _scale(head.mask_head.projection, lambda: [head(features)[3]], 1.0)


def _before_relu(head, features, level):
    values = features[level]
    for layer in head.reg_convs[level]:
        values = layer(values)
    return head.rtm_reg[level](values)


def _speak_up_yolact(model, features, size_hw):
    head, protonet = model.bbox_head, model.mask_head.protonet
    _scale(head.head_convs[0].conv, lambda: [head.head_convs[0](level) for level in features], 1.0)
    _scale(head.conv_cls, lambda: head(features)[0], 1.5)
    head.conv_cls.bias[head.num_classes::head.num_classes + 1] += 4  # background
    _scale(head.conv_reg, lambda: head(features)[1], 1.0)
    _scale(head.conv_coeff, lambda: [head.conv_coeff(head.head_convs[0](level)) for level in features], 1.0)
    _scale(protonet[-2], lambda: [protonet[:-1](features[0])], 1.0)


def _speak_up_two_stages(model, features, size_hw):
    from instance_segmentation.engine.stages import stages_of
    rpn, heads = model.rpn_head, model.roi_head
    _scale(rpn.rpn_conv, lambda: [rpn.rpn_conv(level) for level in features], 1.0)
    _scale(rpn.rpn_cls, lambda: rpn(features)[0], 1.0, -1.0)
    _scale(rpn.rpn_reg, lambda: rpn(features)[1], 0.1)
    height, width = size_hw
    rois = torch.rand(300, 2, 2) * torch.tensor([width, height])
    rois = torch.cat([torch.zeros(300, 1), rois.amin(1), rois.amax(1) + 8], 1)
    for extractor, shared, head in stages_of(heads, "bbox"):
        crops = shared(extractor(features[:extractor.num_inputs], rois))
        _scale(head.fc_cls, lambda head=head, crops=crops: head(crops)[:1], 0.25 if head.num_classes < 10 else 0.6)
        _scale(head.fc_reg, lambda head=head, crops=crops: head(crops)[1:], 0.3)
    for extractor, shared, head in stages_of(heads, "mask"):
        crops = shared(extractor(features[:extractor.num_inputs], rois))
        if hasattr(head, "conv_logits"):
            _scale(head.conv_logits, lambda head=head, crops=crops: [head(crops)], 1.0)
        else:  # PointRend's coarse head
            _scale(head.fc_logits, lambda head=head, crops=crops: [head(crops).flatten(1)], 1.0)
    if hasattr(heads, "point_head"):
        _speak_up_points(heads, features, rois)


def _speak_up_points(heads, features, rois):
    from mmcv.ops import point_sample
    points = torch.rand(len(rois), 30, 2)
    coarse = point_sample(heads._mask_forward(features, rois)["mask_preds"], points)
    hidden = torch.cat([heads._get_fine_grained_point_feats(features, rois, points), coarse], 1)
    for layer in heads.point_head.fcs:
        _scale(layer.conv, lambda layer=layer, seen=hidden: [layer.conv(seen)], 1.0)
        hidden = torch.cat([layer(hidden), coarse], 1)
    _scale(heads.point_head.fc_logits, lambda: [heads.point_head.fc_logits(hidden)], 1.0)


def _scale(layer, outputs, spread, centre=0.0):
    """Shift and scale a layer so that each output channel has the standard deviation `spread` around `centre`."""
    values = torch.cat([output.transpose(0, 1).flatten(1) for output in outputs()], 1)  # [channels, samples]
    mean, deviation = values.mean(1), values.std(1) + 1e-12
    layer.weight.mul_((spread / deviation).view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.copy_(centre - (mean - layer.bias) * spread / deviation)
