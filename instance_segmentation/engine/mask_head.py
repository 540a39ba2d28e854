"""FCNMaskHead whose predictions leave as RLEs, pasted by the code that also serves the exported network."""

import warnings

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from pycocotools import mask as coco_mask

from instance_segmentation.inference.masks import paste_rles

warnings.filterwarnings("ignore", "indexing with dtype torch.uint8", UserWarning)  # mmdet's heads that share layers (C4)


@MODELS.register_module()
class BoxMaskHead(FCNMaskHead):
    """mmdet's mask head with another paste: inside the box, straight to RLE, in the CPU's memory.

    mmdet holds a full-frame mask per detection (100 of them on a 12-megapixel photo are 1.2 GB).
    """

    def predict_by_feat(self, mask_preds, results_list, batch_img_metas, rcnn_test_cfg, rescale=False,
                        activate_map=False):
        """Turn logits into RLEs.

        Args:
            mask_preds: Per image a (N, C, m, m) tensor of logits (probabilities when `activate_map`).
            results_list: Per image an InstanceData with `bboxes` (N, 4) in network pixels and `labels` (N,).
            batch_img_metas: Per image `scale_factor` (w, h), `ori_shape` and `img_shape`.
            rcnn_test_cfg: Has `mask_thr_binary`.
            rescale: Whether boxes and masks leave in pixels of the original image.

        Returns:
            The same InstanceData with `masks`, a list of N RLEs; with `rescale`, `bboxes` in original pixels.
        """
        for preds, results, meta in zip(mask_preds, results_list, batch_img_metas, strict=True):
            if rescale:
                results.bboxes = results.bboxes / results.bboxes.new_tensor(meta["scale_factor"]).repeat(2)
            size_hw = meta["ori_shape" if rescale else "img_shape"][:2]
            channel = results.labels if preds.shape[1] > 1 else results.labels * 0
            masks = preds[range(len(preds)), channel]
            masks = masks if activate_map else masks.sigmoid()
            results.masks = paste_rles(results.bboxes.float().cpu().numpy(), masks.float().cpu().numpy(), size_hw,
                                       rcnn_test_cfg.mask_thr_binary)
            # only now, because masks fill their boxes, parts of which may lie in what was padded
            results.bboxes = results.bboxes.clamp(min=0).minimum(results.bboxes.new_tensor(size_hw[::-1] * 2))
        return results_list


def as_rles(masks):
    """Masks as RLEs: BoxMaskHead's are already, other heads of mmdet give a (N, H, W) bool tensor."""
    if not isinstance(masks, torch.Tensor):
        return list(masks)
    return [coco_mask.encode(np.asfortranarray(mask)) for mask in masks.cpu().numpy().astype(np.uint8)]
