"""Detectron2's COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml, for its weights.

What remains different: an image is filled up with grey (114) before its mean is subtracted, not with zeros after it, at most 10.5 of
255; shrinking boxes are limited to a 62nd of their size.
"""
_base_ = "../../_base_/mask_rcnn_resnet.py"

input_size = (800, 1344)  # height, width; `train.py --input-size` replaces it everywhere below
resize_type = "fit_to_window"  # then Pad on the right and below, as the test pipelines do it
pad_value = 114
conventions = "detectron2"  # `instseg import-weights` asks whose weights this network computes with

model = dict(train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))))
optim_wrapper = dict(optimizer=dict(lr=0.0025))  # for 2 images

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    dict(type="FitToWindow", scale=(1344, 800)),  # width, height; as tested, the originals' window turned for portraits
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="FitToWindow", scale=(1344, 800)),
    dict(type="Pad", size=(1344, 800), pad_val=dict(img=(114, 114, 114))),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
                *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
