"""torchvision's maskrcnn_resnet50_fpn, for its weights.

What remains: torchvision drops final boxes thinner than 0.01 px.
"""
_base_ = "../mask_rcnn_r50_fpn-detectron2/model.py"

input_size = (800, 1344)  # height, width, as in the base file, whose pipelines have it too
conventions = "torchvision"

box_loss = dict(type="SmoothL1Loss", beta=1 / 9, loss_weight=1.0)
extractor = dict(roi_layer=dict(sampling_ratio=2, aligned=False))
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(style="pytorch"),  # strides in the 3x3 convolutions
    rpn_head=dict(anchor_generator=dict(type="TorchvisionAnchors"), loss_bbox=box_loss),
    roi_head=dict(bbox_roi_extractor=extractor, mask_roi_extractor=extractor, bbox_head=dict(loss_bbox=box_loss)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000, min_bbox_size=1e-3)),
    test_cfg=dict(rpn=dict(min_bbox_size=1e-3)))
