"""Runs beside torchvision's or Detectron2's own code: TOOL WEIGHTS OUT.npz PHOTO…, photos of one size with even sides.

Builds the tool's Mask R-CNN with random weights that detect things, saves them as the tool does, and writes what it finds:
boxes, scores, labels and masks inside the boxes. Neither tool's compiled operations are needed: NMS is mmcv's, and so is
Detectron2's RoIAlign; torchvision computes RoIAlign in Python then.
"""

import pickle
import sys
import types

import cv2
import mmcv.ops
import numpy as np
import torch

operations = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operations.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
operations.impl("nms", lambda boxes, scores, iou: mmcv.ops.nms(boxes, scores, iou)[1], "CPU")
import torchvision.ops.boxes  # noqa: E402  wants to know its operations when it is imported

torchvision.ops.boxes._assert_has_ops = lambda: None  # nms is there

NO_CATEGORY = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]


def torchvision_network(size_hw):
    """The network, the layers to scale, and what it finds in a BGR image."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=min(size_hw), max_size=max(size_hw)).eval()
    model.transform.postprocess = lambda found, *sizes: found  # masks stay in their boxes
    layers = [*[(block[0], 1.0, 0.0) for block in model.backbone.fpn.inner_blocks], (model.rpn.head.cls_logits, 1.0, -1.0),
              (model.rpn.head.bbox_pred, 0.1, 0.0), (model.roi_heads.box_predictor.cls_score, 0.6, 0.0),
              (model.roi_heads.box_predictor.bbox_pred, 0.3, 0.0), (model.roi_heads.mask_predictor.mask_fcn_logits, 1.0, 0.0)]

    def find(image):
        found = model([torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1) / 255])[0]
        return [found[key] for key in ("boxes", "scores", "labels", "masks")]
    return model, layers, find


def point_rend_network(size_hw):
    """Detectron2's project PointRend: the network, the layers to scale, and what it finds in a BGR image."""
    def configure(cfg):
        from point_rend import add_pointrend_config
        add_pointrend_config(cfg)
        # as in its configs/InstanceSegmentation/Base-PointRend-RCNN-FPN.yaml
        cfg.MODEL.ROI_HEADS.NAME = "PointRendROIHeads"
        cfg.MODEL.ROI_MASK_HEAD.update(NAME="PointRendMaskHead", POOLER_TYPE="", FC_DIM=1024, NUM_FC=2,
                                       OUTPUT_SIDE_RESOLUTION=7, IN_FEATURES=["p2"], POINT_HEAD_ON=True)
        cfg.MODEL.POINT_HEAD.update(FC_DIM=256, NUM_FC=3, IN_FEATURES=["p2"])
    model, layers, find = detectron2_network(size_hw, configure)
    head = model.roi_heads.mask_head
    return model, [*layers[:-1], (head.coarse_head.prediction, 1.0, 0.0), (head.point_head.predictor, 1.0, 0.0)], find


def detectron2_network(size_hw, configure=lambda cfg: None):
    """The network, the layers to scale, and what it finds in a BGR image."""
    import detectron2
    from PIL import Image
    detectron2._C = sys.modules["detectron2._C"] = types.ModuleType("detectron2._C")
    Image.LINEAR = Image.BILINEAR  # what older Pillow called it
    from detectron2 import model_zoo
    from detectron2.modeling import build_model
    sys.modules["detectron2.layers.roi_align"].roi_align = lambda features, rois, size, scale, ratio, aligned: mmcv.ops.roi_align(
        features, rois, size, scale, ratio, "avg", aligned)
    cfg = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", trained=False)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    configure(cfg)
    model = build_model(cfg).eval()
    rpn, heads = model.proposal_generator.rpn_head, model.roi_heads
    layers = [*[(getattr(model.backbone, f"fpn_lateral{stage}"), 1.0, 0.0) for stage in (2, 3, 4, 5)],
              (rpn.objectness_logits, 1.0, -1.0), (rpn.anchor_deltas, 0.1, 0.0), (heads.box_predictor.cls_score, 0.6, 0.0),
              (heads.box_predictor.bbox_pred, 0.3, 0.0), (getattr(heads.mask_head, "predictor", None), 1.0, 0.0)]

    def find(image):
        (found,) = model.inference([dict(image=torch.from_numpy(image).permute(2, 0, 1))], do_postprocess=False)
        return found.pred_boxes.tensor, found.scores, found.pred_classes, found.pred_masks
    return model, layers, find


NETWORKS = dict(torchvision=torchvision_network, detectron2=detectron2_network, point_rend=point_rend_network)


def speak_up(model, layers, run):
    """Give BatchNorm statistics, and scale each layer's outputs, when first computed, to (layer, spread, centre)."""
    for module in model.modules():
        if hasattr(module, "running_var"):
            for values, low, high in ((module.weight, 0.5, 1.0), (module.bias, -0.2, 0.2), (module.running_mean, -0.2, 0.2),
                                      (module.running_var, 0.5, 1.5)):
                values.uniform_(low, high)

    def scaling(spread, centre):
        def hook(layer, inputs, output):
            handles.pop(layer).remove()
            values = output.transpose(0, 1).flatten(1)
            mean, factor = values.mean(1), spread / (values.std(1) + 1e-12)
            layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
            layer.bias.copy_(centre - (mean - layer.bias) * factor)
            shape = (1, -1, *[1] * (output.dim() - 2))
            return (output - mean.view(shape)) * factor.view(shape) + centre
        return hook
    handles = {layer: layer.register_forward_hook(scaling(spread, centre)) for layer, spread, centre in layers}
    run()
    assert not handles


def save(model, path):
    """Write the weights as the tool's publishers do."""
    state = model.state_dict()
    if path.endswith(".pkl"):
        content = dict(model={name: value.numpy() for name, value in state.items()}, __author__="Detectron2 Model Zoo")
        with open(path, "wb") as file:
            pickle.dump(content, file)
    else:
        torch.save(state if "torchvision" in type(model).__module__ else dict(model=state, iteration=0), path)


@torch.no_grad()
def main(tool, weights, out, *photos):
    torch.manual_seed(0)
    images = [cv2.imread(photo) for photo in photos]
    model, layers, find = NETWORKS[tool](images[0].shape[:2])
    speak_up(model, layers, lambda: find(images[0]))
    if tool == "torchvision":
        model.roi_heads.box_predictor.cls_score.bias[NO_CATEGORY] = -30.0  # no trained network finds what nobody labelled
    save(model, weights)
    found = {}
    for number, image in enumerate(images):
        for key, values in zip(("boxes", "scores", "labels", "masks"), find(image), strict=True):
            found[f"{key}{number}"] = values.numpy()
    np.savez_compressed(out, **found)


main(*sys.argv[1:])
