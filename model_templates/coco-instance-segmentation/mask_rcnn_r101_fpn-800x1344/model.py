_base_ = "../mask_rcnn_r50_fpn-800x1344/model.py"

input_size = (800, 1344)  # height, width, as in the base file, whose pipelines have it too

model = dict(backbone=dict(depth=101))
