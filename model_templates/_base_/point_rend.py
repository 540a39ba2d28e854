"""PointRend (arXiv:1912.08193): mmdet's configs/point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py, with masks in less memory.

Masks of 7x7 cells are enlarged to twice the size five times, and computed anew at the points where they are least sure. Exported
models do the same, or give the 7x7 cells (export.py --coarse-masks).
"""
_base_ = "mask_rcnn_resnet.py"

conventions = "detectron2"  # `instseg import-weights` asks whose weights this network computes with

mask_loss = dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0)
model = dict(
    type="PointRend",
    roi_head=dict(
        type="LeanPointRendRoIHead",
        mask_roi_extractor=dict(
            _delete_=True, type="GenericRoIExtractor", aggregation="concat", out_channels=256, featmap_strides=[4],
            roi_layer=dict(type="SimpleRoIAlign", output_size=14)),
        mask_head=dict(
            _delete_=True, type="BoxCoarseMaskHead", num_fcs=2, in_channels=256, conv_out_channels=256, fc_out_channels=1024,
            num_classes=80, loss_mask=mask_loss),
        point_head=dict(
            type="MaskPointHead", num_fcs=3, in_channels=256, fc_channels=256, num_classes=80, coarse_pred_each_layer=True,
            loss_point=mask_loss)),
    train_cfg=dict(rcnn=dict(mask_size=7, num_points=14 * 14, oversample_ratio=3, importance_sample_ratio=0.75)),
    test_cfg=dict(rcnn=dict(subdivision_steps=5, subdivision_num_points=28 * 28, scale_factor=2)))
optim_wrapper = dict(optimizer=dict(lr=0.0025))  # for 2 images
