"""Mask R-CNN on a ResNet with FPN as Detectron2 builds it: what the templates for weights of other tools share.

From Detectron2's COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml, in mmdet's parts. There is no image size in here: a leaf's
size would not reach pipelines that are defined in a base file. What remains different from Detectron2:
  - An image is filled up with grey (114) before its mean is subtracted, not with zeros after it: at most 10.5 of 255.
  - Boxes that shrink are limited to a 62nd of their size, as growing ones are everywhere; nothing limits them in the other tools.
"""
_base_ = "fine_tuning.py"

num_classes = 80  # replaced by the user's class list
resize_type = "fit_to_window"  # Resize with keep_ratio, then Pad on the right and below, as the pipelines do it
pad_value = 114
conventions = "detectron2"  # `instseg import-weights` asks whose weights this network computes with

box_coder = dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0])
box_loss = dict(type="L1Loss", loss_weight=1.0)
roi_align = dict(type="RoIAlign", sampling_ratio=0, aligned=True)

model = dict(
    type="MaskRCNN",
    # BGR with the means of the Caffe ImageNet models; the exported graph contains both steps
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False,
        pad_mask=True, pad_size_divisor=32),
    backbone=dict(
        type="ResNet", depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=False), norm_eval=True,
        style="caffe"),  # strides in the 1x1 convolutions; "pytorch": in the 3x3
    neck=dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type="RPNHead", in_channels=256, feat_channels=256,
        anchor_generator=dict(type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(**box_coder, target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0), loss_bbox=box_loss),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor", roi_layer=dict(**roi_align, output_size=7), out_channels=256,
            featmap_strides=[4, 8, 16, 32]),
        bbox_head=dict(
            type="Shared2FCBBoxHead", in_channels=256, fc_out_channels=1024, roi_feat_size=7, num_classes=num_classes,
            bbox_coder=dict(**box_coder, target_stds=[0.1, 0.1, 0.2, 0.2]), reg_class_agnostic=False,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0), loss_bbox=box_loss),
        mask_roi_extractor=dict(
            type="SingleRoIExtractor", roi_layer=dict(**roi_align, output_size=14), out_channels=256,
            featmap_strides=[4, 8, 16, 32]),
        # FCNMaskHead whose masks are pasted inside their boxes, straight to RLE, by the code that serves the IR too
        mask_head=dict(
            type="BoxMaskHead", num_convs=4, in_channels=256, conv_out_channels=256, num_classes=num_classes,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3,
                          match_low_quality=True, ignore_iof_thr=-1),
            sampler=dict(type="RandomSampler", num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                          match_low_quality=False, ignore_iof_thr=-1),
            sampler=dict(type="RandomSampler", num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=28, pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5)))

optim_wrapper = dict(  # Detectron2's 0.02 for 16 images per update
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.0025, momentum=0.9, weight_decay=0.0001), clip_grad=None)
# Takes the place of optim_wrapper when training starts from random weights (no --load-weights); then nothing is worth freezing
from_random = dict(
    batch_size=2,
    optim_wrapper=dict(
        type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.0002, weight_decay=0.05), clip_grad=dict(max_norm=10)),
    model=dict(backbone=dict(frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False)))
