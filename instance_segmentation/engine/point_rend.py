"""PointRend whose masks leave as crops of their boxes, without those of all other classes."""

import warnings

import torch
from mmdet.models.roi_heads import PointRendRoIHead
from mmdet.models.roi_heads.mask_heads import CoarseMaskHead
from mmdet.registry import MODELS

from instance_segmentation.engine.mask_head import BoxMaskHead

warnings.filterwarnings("ignore", "DeprecationWarning: pos_bboxes", UserWarning)  # mmdet's own code reads them
TOGETHER = 8  # detections: with 80 classes their masks take 130 MB


@MODELS.register_module()
class BoxCoarseMaskHead(BoxMaskHead, CoarseMaskHead):
    """mmdet's coarse head with BoxMaskHead's paste."""


@MODELS.register_module()
class LeanPointRendRoIHead(PointRendRoIHead):
    """mmdet's head, refining the masks of a few detections at a time (mmdet: of all, 1.6 GB for 100 detections)."""

    def _mask_point_loss(self, x, sampling_results, mask_preds, batch_gt_instances):
        """The point head's loss; without any object, which mmdet's own refuses, 0 that depends on all that is trained."""
        if len(mask_preds):
            return super()._mask_point_loss(x, sampling_results, mask_preds, batch_gt_instances)
        weights = sum(parameter.sum() for parameter in self.point_head.parameters())
        return dict(loss_point=0 * (mask_preds.sum() + weights))

    def _mask_point_forward_test(self, x, rois, label_preds, mask_preds):
        """Logits [N, 1, M, M] of the labels' masks, from coarse ones of all classes [N, C, m, m]."""
        if not len(rois):
            return mask_preds[:, :1]  # mmdet's own refuses to refine none
        found = []
        for part in torch.arange(len(rois), device=rois.device).split(TOGETHER):
            labels = label_preds[part]
            logits = super()._mask_point_forward_test(x, rois[part], labels, mask_preds[part])
            found.append(logits[range(len(part)), labels][:, None])
        return torch.cat(found)
