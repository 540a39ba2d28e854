"""Mask R-CNN on ResNet with half the channels behind it and 14x14 masks: what OTE's 0228, 0904 and 0912 share."""
_base_ = "mask_rcnn_resnet.py"

model = dict(
    neck=dict(out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128, fc_out_channels=512),
        mask_roi_extractor=dict(roi_layer=dict(output_size=7), out_channels=128),
        mask_head=dict(in_channels=128, conv_out_channels=128)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=256), mask_size=14)))
