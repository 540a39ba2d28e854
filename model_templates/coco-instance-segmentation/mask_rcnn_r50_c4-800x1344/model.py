"""Detectron's C4 baseline: one feature map, and the trunk's last stage as the heads' shared layers."""
_base_ = "../mask_rcnn_r50_fpn-800x1344/model.py"

input_size = (800, 1344)  # height, width, as in the base file, whose pipelines have it too

frozen = dict(type="BN", requires_grad=False)
model = dict(
    backbone=dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
    neck=None,
    rpn_head=dict(
        in_channels=1024, feat_channels=1024, anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16])),
    roi_head=dict(
        # the trunk's fourth stage, for boxes and masks alike
        shared_head=dict(
            type="ResLayer", depth=50, stage=3, stride=2, dilation=1, style="caffe", norm_cfg=frozen, norm_eval=True),
        bbox_roi_extractor=dict(roi_layer=dict(output_size=14), out_channels=1024, featmap_strides=[16]),
        bbox_head=dict(
            _delete_=True, type="BBoxHead", with_avg_pool=True, roi_feat_size=7, in_channels=2048, num_classes=80,
            bbox_coder=dict(
                type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False, loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0)),
        mask_roi_extractor=None,
        mask_head=dict(num_convs=0, in_channels=2048)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=12000), rcnn=dict(mask_size=14)),
    test_cfg=dict(rpn=dict(nms_pre=6000)))
from_random = dict(model=dict(roi_head=dict(shared_head=dict(norm_eval=False, norm_cfg=dict(requires_grad=True)))))
