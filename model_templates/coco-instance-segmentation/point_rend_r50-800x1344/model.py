_base_ = "../../_base_/point_rend.py"

input_size = (800, 1344)  # height, width; `train.py --input-size` replaces it everywhere below
resize_type = "fit_to_window"  # then Pad on the right and below, as the test pipelines do it
pad_value = 114  # near the mean: the originals' padding, added after normalisation, was 0

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    # 4/5 to all of the test size in its shape: the original's short sides, whose window turned for portraits
    dict(type="RandomChoiceResize", resize_type="FitToWindow", scales=[(side * 42 // 25, side) for side in range(640, 801, 32)]),
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
