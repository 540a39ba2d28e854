_base_ = "../rtmdet-ins_tiny-640x640/model.py"

input_size = (640, 640)  # height, width, as in the base file, whose pipelines have it too

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5),
    neck=dict(in_channels=[128, 256, 512], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128))
