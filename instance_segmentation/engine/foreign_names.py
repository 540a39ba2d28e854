"""What other tools call the tensors of a Mask R-CNN or PointRend with ResNet and FPN, and what mmdet calls them.

A row is a pattern of a whole name there, the name here with the pattern's groups, and what to subtract from the first group:
stages, levels and layers are counted from 0, 1 or 2.
"""

import re

from instance_segmentation.engine.legacy import modern_key

ROI, RPN, KIND = "roi_head", "rpn_head", r"(weight|bias)"
BOX, MASK = f"{ROI}.bbox_head", f"{ROI}.mask_head"
PARTS = ("backbone", "neck", "rpn_head", ROI, "bbox_head", "mask_head")  # mmdet's
WORDS = dict(w="weight", b="bias", s="weight", **{"2a": "1", "2b": "2", "2c": "3"})  # Detectron's

DETECTRON = [
    (r"conv1_(w)", "backbone.conv1.{}"),
    (r"res_conv1_bn_(s|b)", "backbone.bn1.{}"),
    (r"res(\d)_(\d+)_branch1_(w)", "backbone.layer{}.{}.downsample.0.{}", 1),
    (r"res(\d)_(\d+)_branch1_bn_(s|b)", "backbone.layer{}.{}.downsample.1.{}", 1),
    (r"res(\d)_(\d+)_branch(2[abc])_(w)", "backbone.layer{}.{}.conv{}.{}", 1),
    (r"res(\d)_(\d+)_branch(2[abc])_bn_(s|b)", "backbone.layer{}.{}.bn{}.{}", 1),
    (r"fpn_inner_res(\d)_\d+_sum(?:_lateral)?_(w|b)", "neck.lateral_convs.{}.conv.{}", 2),
    (r"fpn_res(\d)_\d+_sum_(w|b)", "neck.fpn_convs.{}.conv.{}", 2),
    (r"conv_rpn_fpn2_(w|b)", f"{RPN}.rpn_conv.{{}}"),  # of the finest level, and shared by all
    (r"rpn_cls_logits_fpn2_(w|b)", f"{RPN}.rpn_cls.{{}}"),
    (r"rpn_bbox_pred_fpn2_(w|b)", f"{RPN}.rpn_reg.{{}}"),
    (r"fc([67])_(w|b)", f"{BOX}.shared_fcs.{{}}.{{}}", 6),
    (r"cls_score_(w|b)", f"{BOX}.fc_cls.{{}}"),
    (r"bbox_pred_(w|b)", f"{BOX}.fc_reg.{{}}"),
    (r"_\[?mask\]?_fcn(\d)_(w|b)", f"{MASK}.convs.{{}}.conv.{{}}", 1),
    (r"conv5_mask_(w|b)", f"{MASK}.upsample.{{}}"),
    (r"mask_fcn_logits_(w|b)", f"{MASK}.conv_logits.{{}}"),
]
BENCHMARK = [
    (r"backbone\.body\.stem\.((?:conv|bn)1\..+)", "backbone.{}"),
    (r"backbone\.body\.(layer\d\..+)", "backbone.{}"),
    (rf"backbone\.fpn\.fpn_inner(\d)\.{KIND}", "neck.lateral_convs.{}.conv.{}", 1),
    (rf"backbone\.fpn\.fpn_layer(\d)\.{KIND}", "neck.fpn_convs.{}.conv.{}", 1),
    (rf"rpn\.head\.conv\.{KIND}", f"{RPN}.rpn_conv.{{}}"),
    (rf"rpn\.head\.cls_logits\.{KIND}", f"{RPN}.rpn_cls.{{}}"),
    (rf"rpn\.head\.bbox_pred\.{KIND}", f"{RPN}.rpn_reg.{{}}"),
    (rf"roi_heads\.box\.feature_extractor\.fc([67])\.{KIND}", f"{BOX}.shared_fcs.{{}}.{{}}", 6),
    (rf"roi_heads\.box\.predictor\.cls_score\.{KIND}", f"{BOX}.fc_cls.{{}}"),
    (rf"roi_heads\.box\.predictor\.bbox_pred\.{KIND}", f"{BOX}.fc_reg.{{}}"),
    (rf"roi_heads\.mask\.feature_extractor\.mask_fcn(\d)\.{KIND}", f"{MASK}.convs.{{}}.conv.{{}}", 1),
    (rf"roi_heads\.mask\.predictor\.conv5_mask\.{KIND}", f"{MASK}.upsample.{{}}"),
    (rf"roi_heads\.mask\.predictor\.mask_fcn_logits\.{KIND}", f"{MASK}.conv_logits.{{}}"),
]
STEM, STAGE = r"backbone\.bottom_up\.stem", r"backbone\.bottom_up\.res(\d)\.(\d+)"
# PointRend's project; before 2021 its heads were called mask_coarse_head and mask_point_head
COARSE, POINTS = r"roi_heads\.mask_(?:head\.)?coarse_head", r"roi_heads\.mask_(?:head\.)?point_head"
DETECTRON2 = [
    (rf"{STEM}\.conv1\.(weight)", "backbone.conv1.{}"),
    (rf"{STEM}\.conv1\.norm\.(.+)", "backbone.bn1.{}"),
    (rf"{STAGE}\.shortcut\.(weight)", "backbone.layer{}.{}.downsample.0.{}", 1),
    (rf"{STAGE}\.shortcut\.norm\.(.+)", "backbone.layer{}.{}.downsample.1.{}", 1),
    (rf"{STAGE}\.conv(\d)\.(weight)", "backbone.layer{}.{}.conv{}.{}", 1),
    (rf"{STAGE}\.conv(\d)\.norm\.(.+)", "backbone.layer{}.{}.bn{}.{}", 1),
    (rf"backbone\.fpn_lateral(\d)\.{KIND}", "neck.lateral_convs.{}.conv.{}", 2),
    (rf"backbone\.fpn_output(\d)\.{KIND}", "neck.fpn_convs.{}.conv.{}", 2),
    (rf"proposal_generator\.rpn_head\.conv\.{KIND}", f"{RPN}.rpn_conv.{{}}"),
    (rf"proposal_generator\.rpn_head\.objectness_logits\.{KIND}", f"{RPN}.rpn_cls.{{}}"),
    (rf"proposal_generator\.rpn_head\.anchor_deltas\.{KIND}", f"{RPN}.rpn_reg.{{}}"),
    (rf"roi_heads\.box_head\.fc(\d)\.{KIND}", f"{BOX}.shared_fcs.{{}}.{{}}", 1),
    (rf"roi_heads\.box_predictor\.cls_score\.{KIND}", f"{BOX}.fc_cls.{{}}"),
    (rf"roi_heads\.box_predictor\.bbox_pred\.{KIND}", f"{BOX}.fc_reg.{{}}"),
    (rf"roi_heads\.mask_head\.mask_fcn(\d)\.{KIND}", f"{MASK}.convs.{{}}.conv.{{}}", 1),
    (rf"roi_heads\.mask_head\.deconv\.{KIND}", f"{MASK}.upsample.{{}}"),
    (rf"roi_heads\.mask_head\.predictor\.{KIND}", f"{MASK}.conv_logits.{{}}"),
    (rf"{COARSE}\.reduce_spatial_dim_conv\.{KIND}", f"{MASK}.downsample_conv.conv.{{}}"),
    (rf"{COARSE}\.(?:coarse_mask_)?fc(\d)\.{KIND}", f"{MASK}.fcs.{{}}.{{}}", 1),
    (rf"{COARSE}\.prediction\.{KIND}", f"{MASK}.fc_logits.{{}}"),
    (rf"{POINTS}\.fc(\d)\.{KIND}", f"{ROI}.point_head.fcs.{{}}.conv.{{}}", 1),
    (rf"{POINTS}\.predictor\.{KIND}", f"{ROI}.point_head.fc_logits.{{}}"),
]
TORCHVISION = [  # a number in parentheses came with later versions
    (r"backbone\.body\.(.+)", "backbone.{}"),
    (rf"backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?{KIND}", "neck.lateral_convs.{}.conv.{}"),
    (rf"backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?{KIND}", "neck.fpn_convs.{}.conv.{}"),
    (rf"rpn\.head\.conv\.(?:0\.0\.)?{KIND}", f"{RPN}.rpn_conv.{{}}"),
    (rf"rpn\.head\.cls_logits\.{KIND}", f"{RPN}.rpn_cls.{{}}"),
    (rf"rpn\.head\.bbox_pred\.{KIND}", f"{RPN}.rpn_reg.{{}}"),
    (rf"roi_heads\.box_head\.fc([67])\.{KIND}", f"{BOX}.shared_fcs.{{}}.{{}}", 6),
    (rf"roi_heads\.box_predictor\.cls_score\.{KIND}", f"{BOX}.fc_cls.{{}}"),
    (rf"roi_heads\.box_predictor\.bbox_pred\.{KIND}", f"{BOX}.fc_reg.{{}}"),
    (rf"roi_heads\.mask_head\.(\d)\.0\.{KIND}", f"{MASK}.convs.{{}}.conv.{{}}"),
    (rf"roi_heads\.mask_head\.mask_fcn(\d)\.{KIND}", f"{MASK}.convs.{{}}.conv.{{}}", 1),
    (rf"roi_heads\.mask_predictor\.conv5_mask\.{KIND}", f"{MASK}.upsample.{{}}"),
    (rf"roi_heads\.mask_predictor\.mask_fcn_logits\.{KIND}", f"{MASK}.conv_logits.{{}}"),
]


def name_here(name, table):
    """mmdet's name of another tool's tensor, or None when the table does not know it; mmdet's own files need no table."""
    if table is None:
        return modern_key(name) if name.split(".")[0] in PARTS else None
    for pattern, here, *shift in table:
        if match := re.fullmatch(pattern, name):
            first, *rest = (WORDS.get(group, group) for group in match.groups())
            return here.format(int(first) - shift[0] if shift else first, *rest)
    return None
