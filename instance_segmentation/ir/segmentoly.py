"""A Mask R-CNN with the inputs and outputs of Segmentoly's models (2019), for clients that expect these."""

import numpy as np
import torch
from openvino import opset13 as op
from torch import nn

from instance_segmentation.engine.stages import stages_of
from instance_segmentation.inference.contracts import SEGMENTOLY as CONTRACT  # noqa: F401  the exporter asks for it
from instance_segmentation.ir.conversion import convert, feed, join
from instance_segmentation.ir.mask_rcnn import example, find_boxes, mean, roi_features
from instance_segmentation.ir.opset import columns, const


class MasksOfAllClasses(nn.Module):
    """RoI features [N, C, s, s] → probabilities [N, classes + 1, m, m]; the first mask, the background's, is empty."""

    def __init__(self, stage, classes):
        super().__init__()
        self.layers, self.classes = nn.Sequential(stage.shared, stage.head), classes

    def forward(self, features):
        """Return the probabilities."""
        masks = self.layers(features).sigmoid()
        own = masks.expand(-1, self.classes, -1, -1)  # one mask may serve all classes
        return torch.cat([torch.zeros_like(own[:, :1]), own], 1)


def build_ir(model, channel_order="BGR"):
    """Build the graph of a checked Mask R-CNN or Cascade Mask R-CNN.

    Segmentoly's own models also gave `batch_ids` [N], all 0. The Open Model Zoo's demo refuses a fifth output, so it is left out.

    Returns:
        An ov.Model of two inputs: `im_data` [1, 3, H, W] f32, 0…255, and `im_info` [1, 3], height and width in pixels of what
        the image covers of it, from the top left corner, and its scale, which is not used. Outputs, N ≤ max_per_img, possibly
        0, best first: `boxes` [N, 4] x1 y1 x2 y2 in pixels of the input and inside the image, `scores` [N], `classes` [N] i64
        from 1, `raw_masks` [N, classes + 1, m, m] probabilities inside the box.
    """
    info = op.parameter([1, 3], np.float32)
    trunk, features, boxes, labels = find_boxes(model, channel_order, info)
    corners, scores = columns(boxes, 0, 4), op.squeeze(columns(boxes, 4, 5), const([1]))
    masks, classes = [], stages_of(model.roi_head, "bbox")[-1].head.num_classes
    for stage in stages_of(model.roi_head, "mask"):
        head = convert(MasksOfAllClasses(stage, classes), example(stage))
        masks += feed(head, roi_features(stage.extractor, features, corners))
    outputs = dict(boxes=corners, scores=scores, classes=op.add(labels, const(1)), raw_masks=mean(masks))
    return join(dict(im_data=trunk.get_parameters()[0], im_info=info), "segmentoly", outputs)
