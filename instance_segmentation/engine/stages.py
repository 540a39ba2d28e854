"""The steps of mmdet's RoI heads: one of a Mask R-CNN, several of a cascade."""

from functools import partial
from typing import NamedTuple

from torch import nn


class Stage(NamedTuple):
    """One step: how features are read inside boxes, layers that box and mask head share (C4's), the head."""

    extractor: nn.Module
    shared: nn.Module
    head: nn.Module


def stages_of(roi_head, kind):
    """The Stages of a RoI head, first to last; `kind` is "bbox" or "mask"."""
    extractor, head = (getattr(roi_head, f"{kind}_{part}") for part in ("roi_extractor", "head"))
    shared = roi_head.shared_head if roi_head.with_shared_head else nn.Identity()
    if not isinstance(head, nn.ModuleList):
        extractor, head = [extractor], [head]
    return [Stage(one, shared, other) for one, other in zip(extractor, head, strict=True)]


def forwards_of(roi_head, kind):
    """mmdet's own functions for these Stages: each takes feature maps and RoIs [n, 5], and returns a dict."""
    forward, head = (getattr(roi_head, name) for name in (f"_{kind}_forward", f"{kind}_head"))
    return [partial(forward, index) for index in range(len(head))] if isinstance(head, nn.ModuleList) else [forward]
