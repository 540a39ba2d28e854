"""Detectron's end-to-end baselines (configs/12_2017_baselines/e2e_mask_rcnn_*_1x.yaml), which Segmentoly trains: what they share.

Detectron's boxes include their last pixel. The parts below count it as Detectron and maskrcnn-benchmark do, whose weights
`instseg import-weights` reads: boxes here, which end behind it, are theirs plus 1. What remains: a box wholly outside the image
becomes one pixel there and nothing here, where it is dropped; shrinking boxes are limited to a 62nd of their size here.
"""
_base_ = "mask_rcnn_resnet.py"

conventions = "detectron"  # `instseg import-weights` asks whose weights this network computes with

pooling = dict(sampling_ratio=2, aligned=False)
model = dict(
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717]),  # blue, green, red
    rpn_head=dict(
        anchor_generator=dict(type="DetectronAnchors", center_offset=0.5),
        loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1 / 9, loss_weight=1.0)),
    roi_head=dict(
        bbox_roi_extractor=dict(type="InclusiveRoIExtractor", roi_layer=pooling),
        bbox_head=dict(loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1.0, loss_weight=1.0)),
        mask_roi_extractor=dict(type="InclusiveRoIExtractor", roi_layer=pooling)),
    train_cfg=dict(
        rpn=dict(allowed_border=0), rpn_proposal=dict(max_per_img=2000),
        rcnn=dict(assigner=dict(match_low_quality=False))))
optim_wrapper = dict(optimizer=dict(lr=0.0025))  # for 2 images
