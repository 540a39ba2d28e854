"""Small weight files as other tools write them: their names and conventions, written down here once more, the other way round."""

import pickle
import re

import numpy as np
import torch

EXTRAS = {  # what real files hold besides: entries beside the tensors, and tensors that no network of ours has
    "detectron": (dict(cfg="MODEL: {}"), ["conv1_w_momentum", "fc1000_b"]),
    "maskrcnn-benchmark": (dict(optimizer={}, iteration=90000), []),
    "detectron2": (dict(__author__="Detectron2 Model Zoo"), []),
    "torchvision": (dict(), []),
}
BODY, BLOCK, C2 = "backbone.body.layer{layer}.{block}.", "backbone.bottom_up.res{stage}.{block}.", "res{stage}_{block}_branch"
SHORT_CUT = (BODY + "downsample.0.{kind}", BODY + "downsample.1.{kind}")
TRUNK = {  # convolution and normalisation of the stem, of a block, and of its short cut
    "detectron": ("conv1_{w}", "res_conv1_bn_{s}", C2 + "2{letter}_{w}", C2 + "2{letter}_bn_{s}", C2 + "1_{w}", C2 + "1_bn_{s}"),
    "maskrcnn-benchmark": ("backbone.body.stem.conv1.{kind}", "backbone.body.stem.bn1.{kind}", BODY + "conv{number}.{kind}",
                           BODY + "bn{number}.{kind}", *SHORT_CUT),
    "detectron2": ("backbone.bottom_up.stem.conv1.{kind}", "backbone.bottom_up.stem.conv1.norm.{kind}",
                   BLOCK + "conv{number}.{kind}", BLOCK + "conv{number}.norm.{kind}", BLOCK + "shortcut.{kind}",
                   BLOCK + "shortcut.norm.{kind}"),
    "torchvision": ("backbone.body.conv1.{kind}", "backbone.body.bn1.{kind}", BODY + "conv{number}.{kind}",
                    BODY + "bn{number}.{kind}", *SHORT_CUT),
}
TOOLS = tuple(TRUNK)
HEADS = {  # in the order of TOOLS; {0}: a number from 0
    "neck.lateral_convs.{0}.conv": ("fpn_inner_res{stage}_{last}_sum{lateral}", "backbone.fpn.fpn_inner{1}",
                                    "backbone.fpn_lateral{stage}", "backbone.fpn.inner_blocks.{0}.0"),
    "neck.fpn_convs.{0}.conv": ("fpn_res{stage}_{last}_sum", "backbone.fpn.fpn_layer{1}", "backbone.fpn_output{stage}",
                                "backbone.fpn.layer_blocks.{0}.0"),
    "rpn_head.rpn_conv": ("conv_rpn_fpn2", "rpn.head.conv", "proposal_generator.rpn_head.conv", "rpn.head.conv.0.0"),
    "rpn_head.rpn_cls": ("rpn_cls_logits_fpn2", "rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits",
                         "rpn.head.cls_logits"),
    "rpn_head.rpn_reg": ("rpn_bbox_pred_fpn2", "rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas",
                         "rpn.head.bbox_pred"),
    "roi_head.bbox_head.shared_fcs.{0}": ("fc{6}", "roi_heads.box.feature_extractor.fc{6}", "roi_heads.box_head.fc{1}",
                                          "roi_heads.box_head.fc{6}"),
    "roi_head.bbox_head.fc_cls": ("cls_score", "roi_heads.box.predictor.cls_score", "roi_heads.box_predictor.cls_score",
                                  "roi_heads.box_predictor.cls_score"),
    "roi_head.bbox_head.fc_reg": ("bbox_pred", "roi_heads.box.predictor.bbox_pred", "roi_heads.box_predictor.bbox_pred",
                                  "roi_heads.box_predictor.bbox_pred"),
    "roi_head.mask_head.convs.{0}.conv": ("_[mask]_fcn{1}", "roi_heads.mask.feature_extractor.mask_fcn{1}",
                                          "roi_heads.mask_head.mask_fcn{1}", "roi_heads.mask_head.{0}.0"),
    "roi_head.mask_head.upsample": ("conv5_mask", "roi_heads.mask.predictor.conv5_mask", "roi_heads.mask_head.deconv",
                                    "roi_heads.mask_predictor.conv5_mask"),
    "roi_head.mask_head.conv_logits": ("mask_fcn_logits", "roi_heads.mask.predictor.mask_fcn_logits",
                                       "roi_heads.mask_head.predictor", "roi_heads.mask_predictor.mask_fcn_logits"),
}


def name_there(tool, here):
    """The tool's name of one of our tensors."""
    owner, _, kind = here.rpartition(".")
    words = dict(kind=kind, w=dict(weight="w", bias="b").get(kind), s=dict(weight="s", bias="b").get(kind))
    if match := re.fullmatch(r"backbone\.(?:layer(\d)\.(\d+)\.)?(?:(conv|bn)(\d)|downsample\.(\d))", owner):
        layer, block, part, number, short_cut = match.groups()
        row = 4 + int(short_cut) if short_cut else (2 if layer else 0) + (part == "bn")
        return TRUNK[tool][row].format(layer=layer, stage=int(layer or 0) + 1, block=block, number=number,
                                       letter=" abc"[int(number or 0)], **words)
    number = re.search(r"\.(\d)", owner)
    pattern = HEADS[owner.replace(number[0], ".{0}", 1) if number else owner][TOOLS.index(tool)]
    level = int(number[1]) if number else 0
    there = pattern.format(*(level + index for index in range(7)), stage=level + 2, last=(2, 3, 5, 2)[level % 4],
                           lateral="_lateral" if level < 3 else "")
    return f"{there}_{words['w']}" if tool == "detectron" else f"{there}.{kind}"


def as_there(tool, state, background=7.0):
    """Our tensors with the tool's names and rows; rows of a background that we do not have are filled with a number."""
    tensors = {}
    for here, tensor in state.items():
        if here.endswith("num_batches_tracked") or (tool == "detectron" and "running" in here):
            continue
        if tool != "detectron2" and "fc_cls" in here:
            tensor = torch.cat([tensor[-1:], tensor[:-1]])
        if tool != "detectron2" and ("fc_reg" in here or "conv_logits" in here):
            rows = torch.full((4 if "fc_reg" in here else 1, *tensor.shape[1:]), background)
            tensor = torch.cat([rows, tensor])
        tensors[name_there(tool, here)] = tensor
    return tensors


def write(tool, tensors, path):
    """A file of the tool's kind; its name's end decides between pickle and torch."""
    around, names = EXTRAS[tool]
    tensors = {**tensors, **{name: torch.zeros(1) for name in names}}
    if path.suffix == ".pth":
        content = {f"module.{name}": tensor for name, tensor in tensors.items()} if tool == "maskrcnn-benchmark" else tensors
        torch.save(dict(model=content, **around) if around else content, path)
    else:
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        path.write_bytes(pickle.dumps({"blobs" if tool == "detectron" else "model": arrays, **around}, protocol=2))
    return path
