"""YOLACT on ResNet-50: mmdet's configs/yolact/yolact_r50_1xb8-55e_coco.py (arXiv:1904.02689).

There is no image size in here: a leaf's size would not reach pipelines that are defined in a base file.
What differs from mmdet's file:
  - The input's sides are multiples of 32, 544 for 550, so that every level's stride is a whole number, whatever the size.
  - ContractYOLACT reads its outputs as the IR's clients do (NMS at IoU 0.5, 100 detections); mmdet's nms_pre, top_k and
    mask_thr belong to its own reading.
  - No `pretrained`: a build must not download anything.
"""
_base_ = "fine_tuning.py"

num_classes = 80  # replaced by the user's class list

model = dict(
    type="ContractYOLACT",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[123.68, 116.78, 103.94], std=[58.40, 57.12, 57.38], bgr_to_rgb=True, pad_mask=True),
    backbone=dict(
        type="ResNet", depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True), norm_eval=False, zero_init_residual=False, style="pytorch"),
    neck=dict(
        type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, start_level=1, add_extra_convs="on_input", num_outs=5,
        upsample_cfg=dict(mode="bilinear")),
    bbox_head=dict(
        type="YOLACTHead", num_classes=num_classes, in_channels=256, feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator", octave_base_scale=3, scales_per_octave=1, base_sizes=[8, 16, 32, 64, 128],
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128],
            centers=[(4.0, 4.0), (8.0, 8.0), (16.0, 16.0), (32.0, 32.0), (64.0, 64.0)]),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, reduction="none", loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.5),
        num_head_convs=1, num_protos=32, use_ohem=True),
    mask_head=dict(
        type="YOLACTProtonet", in_channels=256, num_protos=32, num_classes=num_classes, max_masks_to_train=100,
        loss_mask_weight=6.125, with_seg_branch=True,
        loss_segm=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.0, ignore_iof_thr=-1, gt_max_assign_all=False),
        sampler=dict(type="PseudoSampler"), allowed_border=-1, pos_weight=-1, neg_pos_ratio=3, debug=False),
    test_cfg=dict(score_thr=0.05, iou_thr=0.5, max_per_img=100, mask_thr_binary=0.5))

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.001, momentum=0.9, weight_decay=0.0005), clip_grad=None)
# Takes the place of optim_wrapper when training starts from random weights (no --load-weights)
from_random = dict(batch_size=4, optim_wrapper=dict(  # the batch that the rate is meant for
    type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.05), clip_grad=dict(max_norm=10)))
