"""RTMDet-Ins (arXiv:2212.07784): what its templates share, from mmdet's configs/rtmdet/rtmdet-ins_s_8xb32-300e_coco.py.

There is no image size in here: a leaf's size would not reach pipelines that are defined in a base file.
What differs from mmdet's file:
  - BoxMaskRTMDetHead gives masks inside their boxes; mmdet's enlarges each to the whole image.
  - BN for SyncBN: one process trains.
  - The augmentation is that of mmdet's last 20 epochs, which fits fine-tuning: no mosaic, no mix-up, whose caches make the
    result depend on what was read before.
  - No `pretrained`: a build must not download anything.
"""
_base_ = "fine_tuning.py"

num_classes = 80  # replaced by the user's class list
resize_type = "fit_to_window"  # then Pad on the right and below, as the test pipelines do it
pad_value = 114

norm = dict(norm_cfg=dict(type="BN", requires_grad=True), act_cfg=dict(type="SiLU", inplace=True))
model = dict(
    type="RTMDet",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        type="CSPNeXt", arch="P5", out_indices=(2, 3, 4), expand_ratio=0.5, deepen_factor=0.33, widen_factor=0.5,
        channel_attention=True, **norm),
    neck=dict(
        type="CSPNeXtPAFPN", in_channels=[128, 256, 512], out_channels=128, num_csp_blocks=1, expand_ratio=0.5, **norm),
    bbox_head=dict(
        type="BoxMaskRTMDetHead", mask_size=56, num_classes=num_classes, in_channels=128, feat_channels=128, stacked_convs=2,
        share_conv=True, pred_kernel_size=1, **norm,
        anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type="DistancePointBBoxCoder"),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_mask=dict(type="DiceLoss", loss_weight=2.0, eps=5e-6, reduction="mean")),
    train_cfg=dict(
        assigner=dict(type="DynamicSoftLabelAssigner", topk=13), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.6), max_per_img=100,
        mask_thr_binary=0.5))

# mmdet's 0.004 for 256 images per update; AdamW's rate grows with their square root
paramwise = dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True)
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.0007, weight_decay=0.05), paramwise_cfg=paramwise,
    clip_grad=dict(max_norm=35))
# Takes the place of optim_wrapper when training starts from random weights (no --load-weights)
from_random = dict(batch_size=4, optim_wrapper=dict(  # the batch that the rate is meant for
    type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.001, weight_decay=0.05), paramwise_cfg=paramwise,
    clip_grad=dict(max_norm=35)))
