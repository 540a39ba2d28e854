_base_ = ["../../_base_/yolact_r50.py", "../../_base_/custom_loaders.py"]

input_size = (544, 544)  # height, width; `train.py --input-size` replaces it everywhere below
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),  # as bitmaps: Expand knows no polygons
    dict(type="FilterAnnotations", min_gt_bbox_wh=(4.0, 4.0)),
    dict(type="Expand", mean=[123.68, 116.78, 103.94], to_rgb=True, ratio_range=(1, 4)),
    dict(type="MinIoURandomCrop", min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type="Resize", scale=(544, 544), keep_ratio=False),  # width, height
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion", brightness_delta=32, contrast_range=(0.5, 1.5), saturation_range=(0.5, 1.5), hue_delta=18),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(544, 544), keep_ratio=False),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True), *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
