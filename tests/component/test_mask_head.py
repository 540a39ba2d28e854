"""BoxMaskHead and paste_rles against mmdet's paste."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import paste_rles

pytestmark = pytest.mark.component


def test_paste_equals_mmdets():
    """Same pixels for boxes of all sizes, at and beyond the borders; only ties at exactly 0.5 may differ."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
    random = np.random.default_rng(3)
    corners = random.uniform(-20, 220, (60, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)
    masks = random.random((60, 28, 28)).astype(np.float32)
    ours = coco_mask.decode(paste_rles(boxes, masks, (150, 200))).transpose(2, 0, 1)
    theirs, _ = _do_paste_mask(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), 150, 200, skip_empty=False)
    differing = (ours != (theirs >= 0.5).numpy()).sum()
    assert differing <= 1e-5 * ours.size
    assert ours.sum() > 10_000
