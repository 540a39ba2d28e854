"""mmdet's two-stage Mask R-CNN, and Cascade Mask R-CNN, as ONNX of standard operators, which plain ONNX Runtime runs.

The same computation as in `mask_rcnn.py`, written in torch and traced. The two operators that torch has no counterpart of,
NonMaxSuppression and RoiAlign, are traced through functions that name them.
"""

import io
import warnings

import torch
from mmcv.ops import RoIAlign, SimpleRoIAlign, nms
from torch import nn

from instance_segmentation.engine.stages import stages_of
from instance_segmentation.errors import MissingExtraError
from instance_segmentation.ir.heads import BoxHead, Trunk, mask_head, mask_inputs
from instance_segmentation.ir.info import ONNX_PREFIX
from instance_segmentation.ir.mask_rcnn import stage_names
from instance_segmentation.ir.point_rend import PointSamples
from instance_segmentation.ir.support import check

OUTPUTS, OPSET = ("boxes", "labels", "masks"), 17


def build_onnx(model, channel_order="BGR"):
    """Trace a detector.

    Args:
        model: mmdet MaskRCNN or CascadeRCNN in eval mode with `input_size` (h, w).
        channel_order: Order of the channels that clients will send, `BGR` or `RGB`.

    Returns:
        An onnx.ModelProto without metadata; input and outputs as of `mask_rcnn.build_ir`. The parity gate's intermediate results
        keep their names (`stage_names`), but are no outputs.

    Raises:
        ExportError: A part of the network has no counterpart here.
        MissingExtraError: The onnx package is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "ONNX") from error
    check(model, "ONNX")
    written, names = io.BytesIO(), [*OUTPUTS, *stage_names(model)]
    with warnings.catch_warnings(), torch.no_grad():
        # tracing fixes shapes and branches; that is wanted here, the input size never changes
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # the exporter's notes about constant folding
        torch.onnx.export(OnnxMaskRCNN(model, channel_order).eval(), (_example(model),), written, dynamo=False,
                          opset_version=OPSET, input_names=["image"], output_names=names,
                          dynamic_axes={name: {0: "detections"} for name in OUTPUTS})
    proto = onnx.load_from_string(written.getvalue())
    del proto.graph.output[len(OUTPUTS):]
    onnx.checker.check_model(proto)
    return proto


def set_metadata(proto, entries):
    """Write `model_info` entries (key → text) into an onnx.ModelProto, in place, where Model API looks for them."""
    import onnx
    onnx.helper.set_model_props(proto, {f"{ONNX_PREFIX}{key}": text for key, text in entries.items()})


def _example(model):
    """An image on which everything happens, so that nothing is traced on empty tensors."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, *model.input_size, generator=generator) * 255


class OnnxMaskRCNN(nn.Module):
    """The whole network, from the image to boxes, labels, masks and the intermediate results."""

    def __init__(self, model, channel_order):
        super().__init__()
        self.model, self.trunk = model, Trunk(model, reverse=channel_order == "RGB", lean=False)
        self.boxes, self.masks = (stages_of(model.roi_head, kind) for kind in ("bbox", "mask"))
        self.box_heads = nn.ModuleList(map(BoxHead, self.boxes))
        self.mask_heads = nn.ModuleList(mask_head(model.roi_head, stage) for stage in self.masks)
        self.sigmoid = ExactSigmoid()
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
            chosen = NonMaxSuppression.apply(shifted[None], scores[None, None], config.nms.iou_threshold, -1.0)[:, 2]
            kept.append((boxes[chosen], scores[chosen]))
        boxes, scores = (torch.cat([level[part] for level in kept]) for part in (0, 1))
        return boxes[scores.sort(descending=True).indices[:config.max_per_img]]

    def _candidates(self, logits, deltas, anchors):
        """One level's boxes [n, 4] and scores [n] before NMS."""
        head, config = self.model.rpn_head, self.model.test_cfg.rpn
        scores = self.sigmoid(logits[0].permute(1, 2, 0).reshape(-1))
        deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
        if 0 < config.get("nms_pre", -1) < len(anchors):
            scores, order = scores.topk(int(config.nms_pre))
            deltas, anchors = deltas[order], anchors[order]
        boxes = self._clip(head.bbox_coder.decode(anchors, deltas))
        if config.get("min_bbox_size", -1) >= 0:
            smaller_side = (boxes[:, 2:] - boxes[:, :2]).amin(1)
            large = (smaller_side > config.min_bbox_size).nonzero().squeeze(1)
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
        chosen = NonMaxSuppression.apply(boxes + classes * (largest + 1), scores[:, None], config.nms.iou_threshold,
                                         config.score_thr)
        label, proposal = chosen[:, 0], chosen[:, 2]
        best, order = scores[label, proposal].sort(descending=True)
        best, order = best[:config.max_per_img], order[:config.max_per_img]
        label, proposal = label[order], proposal[order]
        return torch.cat([boxes[label, proposal], best[:, None]], 1), label


class ExactSigmoid(nn.Module):
    """The sigmoid, rounded as torch rounds it.

    ONNX Runtime approximates its Sigmoid operator, to 2e-7: sure anchors would come in another order than in the checkpoint.
    """

    def forward(self, logits):
        """Logits of any shape → float32 in [0, 1]."""
        return 1 / (1 + torch.exp(-logits))


class NonMaxSuppression(torch.autograd.Function):
    """ONNX's NonMaxSuppression: boxes [B, n, 4], scores [B, 1, n] → rows (batch, 0, index) i64."""

    @staticmethod
    def forward(ctx, boxes, scores, iou_threshold, score_threshold):
        """Compute what the operator will compute, batch by batch."""
        rows = []
        for batch, (some, values) in enumerate(zip(boxes, scores[:, 0], strict=True)):
            above = (values > score_threshold).nonzero().squeeze(1)
            _, kept = nms(some[above].contiguous(), values[above].contiguous(), iou_threshold)
            rows += [(batch, 0, int(index)) for index in above[kept]]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)

    @staticmethod
    def symbolic(g, boxes, scores, iou_threshold, score_threshold):
        """Name the operator; every box may be kept."""
        def constant(value, dtype):
            return g.op("Constant", value_t=torch.tensor([value], dtype=dtype))
        kept = g.op("NonMaxSuppression", boxes, scores, constant(torch.iinfo(torch.int32).max, torch.int64),
                    constant(iou_threshold, torch.float32), constant(score_threshold, torch.float32))
        return kept.setType(boxes.type().with_dtype(torch.int64).with_sizes([None, 3]))  # not the number seen while tracing


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
