"""The parts of an mmdet Mask R-CNN that are pure tensor code; `conversion.convert` turns each into a graph.

What lies between them (proposals, RoI features, decoding, NMS) is written in OpenVINO operations in `mask_rcnn.py`.
"""

from mmdet.models.roi_heads.mask_heads import CoarseMaskHead
from torch import nn

from instance_segmentation.ir.conversion import Pixels
from instance_segmentation.ir.neck import lean_neck
from instance_segmentation.ir.point_rend import CoarseMask, RefinedMask


class Trunk(nn.Module):
    """Backbone, neck and RPN convolutions, with the data preprocessor in front.

    Args:
        model: mmdet detector in eval mode.
        reverse: Whether the image's channels are in the other order than the pipeline's BGR.
        lean: Whether the neck may be rewritten for OpenVINO's kernels.
    """

    def __init__(self, model, reverse, lean=True):
        super().__init__()
        self.model, self.neck = model, model.neck if model.with_neck else nn.Identity()
        if lean:
            self.neck = lean_neck(self.neck)
        self.pixels = Pixels(model, reverse)

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → feature maps, then objectness [1, A, h, w] and deltas [1, 4A, h, w] per level."""
        features, logits, deltas = self.maps(image)
        return (*features, *(level.sigmoid() for level in logits), *deltas)

    def maps(self, image):
        """Feature maps, RPN logits and deltas, a list of each."""
        features = self.neck(self.model.backbone(self.pixels(image)))
        return features, *self.model.rpn_head(features)


class BoxHead(nn.Module):
    """RoI features [N, C, s, s] → class logits [N, classes + 1] and box deltas [N, 4 · classes] or [N, 4]."""

    def __init__(self, stage):
        super().__init__()
        self.shared, self.head = stage.shared, stage.head

    def forward(self, features):
        """Return logits and deltas."""
        return self.head(self.shared(features))


def mask_head(roi_head, stage):
    """The mask head of a Stage as a layer: RoI features [N, C, s, s] and `mask_inputs` → probabilities [N, m, m]."""
    if _refines(roi_head):
        return RefinedMask(roi_head)
    return CoarseMask(stage.head) if isinstance(stage.head, CoarseMaskHead) else MaskHead(stage)


def mask_inputs(roi_head, stage, labels, boxes, features):
    """Those of labels [N], boxes [N, 4] and feature maps that a Stage's layer takes besides RoI features."""
    return (labels, boxes, *features[:stage.extractor.num_inputs]) if _refines(roi_head) else (labels,)


def _refines(roi_head):
    return getattr(roi_head, "point_head", None) is not None


class MaskHead(nn.Module):
    """RoI features [N, C, s, s] and labels [N] → probabilities [N, m, m] of each detection's own class.

    mmdet computes the masks of every class and then picks one. Here the last layer's weights are picked first, and a
    deconvolution whose blocks do not overlap becomes one matrix product per pixel, rearranged only when a single
    channel is left. Same sums, far fewer bytes moved.
    """

    def __init__(self, stage):
        super().__init__()
        self.shared, self.head = stage.shared, stage.head
        self.own = nn.Embedding.from_pretrained(self.head.conv_logits.weight.flatten(1))  # [classes or 1, C]
        self.bias = nn.Embedding.from_pretrained(self.head.conv_logits.bias[:, None])

    def forward(self, features, labels):
        """Return the probabilities."""
        hidden, factor = self._hidden(self.shared(features))  # [N, h, w, factor², C]
        height, width, channels = int(hidden.shape[1]), int(hidden.shape[2]), int(hidden.shape[-1])  # N alone varies
        labels = labels * 0 if self.head.class_agnostic else labels
        pixels = hidden.reshape(-1, height * width * factor ** 2, channels)
        logits = pixels @ self.own(labels)[:, :, None] + self.bias(labels)[:, None]
        blocks = logits.reshape(-1, height, width, factor, factor).transpose(2, 3)
        return blocks.reshape(-1, height * factor, width * factor).sigmoid()

    def _hidden(self, features):
        """What the last layer sees, as blocks of factor × factor pixels, channels last."""
        head = self.head
        for conv in head.convs:
            features = conv(features)
        if head.upsample_method != "deconv":
            features = head.upsample(features) if head.upsample else features
            return features.permute(0, 2, 3, 1)[:, :, :, None], 1
        deconv, factor = head.upsample, head.scale_factor  # kernel and stride are the factor, by mmdet's construction
        weight = deconv.weight.permute(0, 2, 3, 1).flatten(1)  # [C in, factor · factor · C out]
        blocks = features.permute(0, 2, 3, 1) @ weight + deconv.bias.repeat(factor * factor)
        return blocks.unflatten(-1, (factor * factor, deconv.out_channels)).relu(), factor
