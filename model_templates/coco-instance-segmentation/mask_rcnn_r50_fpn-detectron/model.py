"""Detectron's and maskrcnn-benchmark's e2e_mask_rcnn_R-50-FPN, for their weights.

Their boxes include the last pixel. The parts below count it as they do, so that boxes here, which end behind it, are theirs plus 1.
What remains: a box wholly outside the image becomes one pixel there and nothing here, where it is dropped.
"""
_base_ = "../mask_rcnn_r50_fpn-detectron2/model.py"

input_size = (800, 1344)  # height, width, as in the base file, whose pipelines have it too
conventions = "detectron"

rpn_loss = dict(type="SmoothL1Loss", beta=1 / 9, loss_weight=1.0)
box_loss = dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0)
extractor = dict(type="InclusiveRoIExtractor", roi_layer=dict(sampling_ratio=2, aligned=False))
model = dict(
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717]),
    rpn_head=dict(anchor_generator=dict(type="DetectronAnchors", center_offset=0.5), loss_bbox=rpn_loss),
    roi_head=dict(bbox_roi_extractor=extractor, mask_roi_extractor=extractor, bbox_head=dict(loss_bbox=box_loss)))
