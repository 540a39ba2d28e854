"""Detectron's end-to-end baselines (configs/12_2017_baselines/e2e_mask_rcnn_*_1x.yaml), which Segmentoly trains: what they share.

What differs from Detectron: a box is as wide as x2 - x1, not one pixel wider.
"""
_base_ = "mask_rcnn_resnet.py"

pooling = dict(sampling_ratio=2, aligned=False)
model = dict(
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717]),  # blue, green, red
    rpn_head=dict(loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1 / 9, loss_weight=1.0)),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=pooling),
        bbox_head=dict(loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1.0, loss_weight=1.0)),
        mask_roi_extractor=dict(roi_layer=pooling)),
    train_cfg=dict(
        rpn=dict(allowed_border=0), rpn_proposal=dict(max_per_img=2000),
        rcnn=dict(assigner=dict(match_low_quality=False))))
optim_wrapper = dict(optimizer=dict(lr=0.0025))  # for 2 images
