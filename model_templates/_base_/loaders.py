"""Loaders and metric of all templates. A leaf adds its pipelines, whose sizes would not reach this file."""

# An epoch is one pass over the images, as in the originals
train_dataloader = dict(
    batch_size=8, num_workers=2,
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(type="SeededRepeatDataset", times=1, dataset=dict(
        type="NormalisedCocoDataset", ann_file="", metainfo=dict(), data_prefix=dict(img=""))))
val_dataloader = dict(
    batch_size=1, num_workers=2, drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="NormalisedCocoDataset", ann_file="", metainfo=dict(), data_prefix=dict(img=""), test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type="CocoSegmMetric", ann_file="")
test_evaluator = val_evaluator
