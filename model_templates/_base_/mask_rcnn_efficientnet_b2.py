"""Mask R-CNN on EfficientNet-B2 with an 80-channel FPN: what the templates of this family share.

Origin: OpenVINO Training Extensions, instance_segmentation/model_templates/custom-instance-segmentation (2021).
There is no image size in here: a leaf's size would not reach pipelines that are defined in a base file.
"""
_base_ = "mask_rcnn.py"

model = dict(
    # No `pretrained` here: the 576 original downloaded ImageNet weights at every build, even for evaluation
    backbone=dict(
        type="EfficientNet", arch="b2", out_indices=(2, 3, 4, 5), frozen_stages=0, norm_eval=False,
        norm_cfg=dict(type="BN", eps=1e-3),
        act_cfg=dict(type="SiLU", inplace=False)),  # mmdet's default, Swish, written as one operation
    neck=dict(in_channels=[24, 48, 120, 352], out_channels=80),
    rpn_head=dict(in_channels=80, feat_channels=80),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=80),
        bbox_head=dict(in_channels=80, fc_out_channels=512),
        mask_roi_extractor=dict(roi_layer=dict(output_size=7), out_channels=80),
        mask_head=dict(in_channels=80, conv_out_channels=80)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=256), mask_size=14)))

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.025, momentum=0.9, weight_decay=0.0001), clip_grad=None)
# Takes their place when the weights hold a backbone alone, as published for ImageNet: its pixels are RGB of unit variance, its
# statistics are worth more than those of a few images, and it learns more slowly than the parts that start fresh
from_backbone = dict(
    batch_size=4,
    optim_wrapper=dict(
        type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.001, weight_decay=0.05), clip_grad=dict(max_norm=10),
        paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1)))),
    model=dict(backbone=dict(norm_eval=True)),
    recipe=dict(normalisation="imagenet"))  # arguments of train.py; flags go first
