_base_ = ["../../_base_/mask_rcnn_efficientnet_b2.py", "../../_base_/loaders.py"]

input_size = (480, 480)  # height, width; `train.py --input-size` replaces it everywhere below

model = dict(test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)))
optim_wrapper = dict(optimizer=dict(lr=0.01))

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    # The sizes lie around the test size, at most 32 px from square
    dict(type="RandomChoiceResize", resize_type="Resize", keep_ratio=False,
         scales=[(w, h) for w in range(352, 609, 32) for h in range(352, 609, 32) if abs(w - h) <= 32]),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(480, 480), keep_ratio=False),  # width, height
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
                *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
