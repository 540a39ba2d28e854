_base_ = "../../_base_/mask_rcnn_resnet.py"

input_size = (768, 1024)  # height, width; `train.py --input-size` replaces it everywhere below
resize_type = "fit_to_window"  # then Pad on the right and below, as the test pipelines do it
pad_value = 114  # near the mean: the originals' padding, added after normalisation, was 0
optim_wrapper = dict(optimizer=dict(lr=0.0025))  # for 2 images

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    # 5/6 to 25/24 of the test size in its shape: the original's short sides, whose window turned for portraits
    dict(type="RandomChoiceResize", resize_type="FitToWindow", scales=[(side * 4 // 3, side) for side in range(640, 801, 32)]),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="FitToWindow", scale=(1024, 768)),  # width, height
    dict(type="Pad", size=(1024, 768), pad_val=dict(img=(114, 114, 114))),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
                *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
