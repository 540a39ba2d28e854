_base_ = "../../_base_/mask_rcnn_resnet_128.py"

input_size = (608, 608)  # height, width; `train.py --input-size` replaces it everywhere below

model = dict(backbone=dict(depth=101))

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    # Squares around the test size
    dict(type="RandomChoiceResize", resize_type="Resize", keep_ratio=False,
         scales=[(side, side) for side in range(384, 641, 32)]),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(608, 608), keep_ratio=False),  # width, height
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
                *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
