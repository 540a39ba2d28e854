"""Mask R-CNN on ResNet as Detectron has it: Caffe's variant (stride in the 1x1 convolution), normalisation that stays as it is.

Origin: OpenVINO Training Extensions, instance_segmentation/model_templates/coco-instance-segmentation (2021).
There is no image size in here: a leaf's size would not reach pipelines that are defined in a base file.
"""
_base_ = ["mask_rcnn.py", "loaders.py"]

model = dict(
    # No `pretrained` here: a build must not download anything
    backbone=dict(
        type="ResNet", depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=False), norm_eval=True, style="caffe"),
    neck=dict(in_channels=[256, 512, 1024, 2048]))

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0001), clip_grad=None)
# What is frozen is of use only when it was trained
from_random = dict(model=dict(backbone=dict(frozen_stages=-1, norm_eval=False, norm_cfg=dict(requires_grad=True))))
