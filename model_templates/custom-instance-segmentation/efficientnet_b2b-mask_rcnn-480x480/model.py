_base_ = "../../_base_/mask_rcnn_efficientnet_b2.py"

input_size = (480, 480)  # height, width; `train.py --input-size` replaces it everywhere below
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

# An epoch is three passes over the images, as in the original: evaluation and checkpoints stay rare on small data
train_dataloader = dict(
    batch_size=8, num_workers=2,
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(type="SeededRepeatDataset", times=3, dataset=dict(
        type="NormalisedCocoDataset", ann_file="", metainfo=dict(), data_prefix=dict(img=""), pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=1, num_workers=2, drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="NormalisedCocoDataset", ann_file="", metainfo=dict(), data_prefix=dict(img=""), test_mode=True,
                 pipeline=val_pipeline))
test_dataloader = {**val_dataloader, "dataset": {**val_dataloader["dataset"], "pipeline": test_pipeline}}
val_evaluator = dict(type="CocoSegmMetric", ann_file="")
test_evaluator = val_evaluator
