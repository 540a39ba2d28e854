"""PANet's bottom-up path behind the pyramid, as mmdet has it (PAFPN); its adaptive feature pooling mmdet does not have."""
_base_ = "../mask_rcnn_r50_fpn-800x1344/model.py"

input_size = (800, 1344)  # height, width, as in the base file, whose pipelines have it too
conventions = None  # no other tool's weights fit this neck

model = dict(neck=dict(type="PAFPN"))
