"""mmdet's two-stage Mask R-CNN, Cascade Mask R-CNN and PointRend, in torch alone, to be traced for ONNX.

The same computation as in `mask_rcnn.py`. RoiAlign, which torch has no operator of, is traced by a function that names it.
"""

import torch
from mmcv.ops import RoIAlign, SimpleRoIAlign
from torch import nn

from instance_segmentation.engine.stages import stages_of
from instance_segmentation.ir.heads import BoxHead, Trunk, mask_head, mask_inputs
from instance_segmentation.ir.operators import larger_than, sigmoid, suppressed
from instance_segmentation.ir.point_rend import PointSamples


class OnnxMaskRCNN(nn.Module):
    """The whole network, from the image to boxes, labels, masks and the intermediate results."""

    def __init__(self, model, reverse):
        super().__init__()
        self.model, self.trunk = model, Trunk(model, reverse, lean=False)
        self.boxes, self.masks = (stages_of(model.roi_head, kind) for kind in ("bbox", "mask"))
        self.box_heads = nn.ModuleList(map(BoxHead, self.boxes))
        self.mask_heads = nn.ModuleList(mask_head(model.roi_head, stage) for stage in self.masks)
        height, width = model.input_size
        self.register_buffer("limits", torch.tensor([width, height, width, height], dtype=torch.float32))

    def forward(self, image):
        """Image [1, 3, H, W] → boxes [N, 5], labels [N], masks [N, m, m], then the stages."""
        features, logits, deltas = self.trunk.maps(image)
        regions, boxes, scores = self.classify(features, self.propose(logits, deltas))
        found, labels = self.detect(boxes, scores)
        corners = found[:, :4]
        masks = [head(self.roi_features(stage.extractor, features, corners),
                      *mask_inputs(self.model.roi_head, stage, labels, corners, features))
                 for stage, head in zip(self.masks, self.mask_heads, strict=True)]
        return found, labels, sum(masks) / len(masks), *logits, *deltas, *regions, boxes, scores

    def classify(self, features, rois):
        """Run the box head, or those of a cascade one after the other (CascadeRoIHead._refine_roi).

        Returns:
            What each head saw [K, 4], and the last head's boxes and all heads' scores, as `detect` takes them.
        """
        regions, logits = [rois], []
        for stage, head in zip(self.boxes, self.box_heads, strict=True):
            own, deltas = head(self.roi_features(stage.extractor, features, regions[-1]))
            logits.append(own)
            boxes = self.decode(stage.head, regions[-1], deltas)
            if len(logits) < len(self.boxes):
                regions.append(boxes[0])
        return regions, boxes, (sum(logits) / len(logits)).softmax(-1)[:, :-1].t()

    def propose(self, logits, deltas):
        """Region proposals [K, 4] in input pixels, best first (RPNHead._predict_by_feat_single)."""
        head, config = self.model.rpn_head, self.model.test_cfg.rpn
        anchors = head.prior_generator.grid_priors([level.shape[2:] for level in logits], device="cpu")
        levels = [self._candidates(*level) for level in zip(logits, deltas, anchors, strict=True)]
        largest = torch.cat([boxes for boxes, _ in levels]).max()
        kept = []
        for index, (boxes, scores) in enumerate(levels):
            shifted = boxes + index * (largest + 1)  # rounds like mmcv's batched_nms
            chosen = suppressed(shifted[None], scores[None], config.nms.iou_threshold, -1.0)[:, 1]
            kept.append((boxes[chosen], scores[chosen]))
        boxes, scores = (torch.cat([level[part] for level in kept]) for part in (0, 1))
        return boxes[scores.sort(descending=True).indices[:config.max_per_img]]

    def _candidates(self, logits, deltas, anchors):
        """One level's boxes [n, 4] and scores [n] before NMS."""
        head, config = self.model.rpn_head, self.model.test_cfg.rpn
        scores = sigmoid(logits[0].permute(1, 2, 0).reshape(-1))
        deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
        if 0 < config.get("nms_pre", -1) < len(anchors):
            scores, order = scores.topk(int(config.nms_pre))
            deltas, anchors = deltas[order], anchors[order]
        boxes = self._clip(head.bbox_coder.decode(anchors, deltas))
        if config.get("min_bbox_size", -1) >= 0:
            large = larger_than(boxes, config.min_bbox_size)
            boxes, scores = boxes[large], scores[large]
        return boxes, scores

    def _clip(self, boxes):
        """Boxes (…, 4) cut at the input's border."""
        return torch.minimum(boxes.clamp(min=0), self.limits)

    def roi_features(self, extractor, features, boxes):
        """Features [N, C, s, s] of boxes [N, 4] in input pixels, each from the level that fits its size."""
        if isinstance(extractor.roi_layers[0], SimpleRoIAlign):
            return PointSamples(extractor.roi_layers[0])(features[0], boxes)
        if left_out := getattr(extractor, "left_out", None):
            boxes = boxes - boxes.new_tensor(left_out)
        rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
        levels = extractor.map_roi_levels(rois, extractor.num_inputs)
        parts, places = [], []
        for index, (layer, feature) in enumerate(zip(extractor.roi_layers, features, strict=False)):
            here = (levels == index).nonzero().squeeze(1)
            parts.append(AlignRoIs.apply(feature, boxes[here], layer))
            places.append(here)
        return torch.cat(parts)[torch.cat(places).argsort()]

    def decode(self, head, rois, deltas):
        """Boxes [classes, K, 4] of regions and a box head's deltas, clipped to the input."""
        boxes = self._clip(head.bbox_coder.decode(rois, deltas).reshape(-1, deltas.shape[1] // 4, 4)).transpose(0, 1)
        return boxes.expand(head.num_classes, -1, -1) if head.reg_class_agnostic else boxes

    def detect(self, boxes, scores):
        """Detections [N, 5] and labels [N] above the threshold after NMS per class, best first (multiclass_nms)."""
        config = self.model.test_cfg.rcnn
        largest = torch.where(scores[:, :, None] > config.score_thr, boxes, torch.zeros_like(boxes)).max()
        classes = torch.arange(len(scores), dtype=torch.float32)[:, None, None]
        apart = boxes + classes * (largest + 1)
        label, proposal = suppressed(apart, scores, config.nms.iou_threshold, config.score_thr).unbind(1)
        best, order = scores[label, proposal].sort(descending=True)
        best, order = best[:config.max_per_img], order[:config.max_per_img]
        label, proposal = label[order], proposal[order]
        return torch.cat([boxes[label, proposal], best[:, None]], 1), label


class AlignRoIs(torch.autograd.Function):
    """ONNX's RoiAlign of one image: features [1, C, h, w], boxes [n, 4] → [n, C, s, s], by one of mmcv's RoIAlign layers."""

    @staticmethod
    def forward(ctx, features, boxes, layer):
        """Compute what the operator will compute."""
        return RoIAlign.forward(layer, features, torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1))

    @staticmethod
    def symbolic(g, features, boxes, layer):
        """Name the operator."""
        from torch.onnx import symbolic_helper
        count = symbolic_helper._size_helper(g, boxes, g.op("Constant", value_t=torch.tensor(0)))
        batch = g.op("Expand", g.op("Constant", value_t=torch.tensor([0])), symbolic_helper._reshape_helper(g, count, [1]))
        height, width = layer.output_size
        crops = g.op("RoiAlign", features, boxes, batch, output_height_i=height, output_width_i=width, mode_s="avg",
                     sampling_ratio_i=int(layer.sampling_ratio), spatial_scale_f=float(layer.spatial_scale),
                     coordinate_transformation_mode_s="half_pixel" if layer.aligned else "output_half_pixel")
        channels = symbolic_helper._get_tensor_dim_size(features, 1)
        return crops.setType(features.type().with_sizes([None, channels, height, width]))
