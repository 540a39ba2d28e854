_base_ = ["../../_base_/mask_rcnn_efficientnet_b2.py", "../../_base_/custom_loaders.py"]

input_size = (576, 576)  # height, width; `train.py --input-size` replaces it everywhere below

# What differs from the 480 template: wider box head, 28x28 masks, 100 proposals at test time, slower warm-up
model = dict(
    roi_head=dict(
        bbox_head=dict(fc_out_channels=1024),
        mask_roi_extractor=dict(roi_layer=dict(output_size=14))),
    train_cfg=dict(rcnn=dict(mask_size=28)),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=True, begin=0, end=12, T_max=12,
         convert_to_iter_based=True),
]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    # The sizes lie around the test size, at most 32 px from square; the original trained on the 480 template's sizes
    dict(type="RandomChoiceResize", resize_type="Resize", keep_ratio=False,
         scales=[(w, h) for w in range(448, 705, 32) for h in range(448, 705, 32) if abs(w - h) <= 32]),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(576, 576), keep_ratio=False),  # width, height
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
# with the annotations, for the validation loss
val_pipeline = [test_pipeline[0], dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
                *test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
