"""RTMDet-Ins whose masks leave as crops of their boxes, pasted by the code that also serves the exported network."""

import warnings

import torch
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import RTMDetInsSepBNHead
from mmdet.registry import MODELS
from torch.nn import functional

from instance_segmentation.inference.masks import paste_rles

warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # how mmdet makes its priors


@MODELS.register_module()
class BoxMaskRTMDetHead(RTMDetInsSepBNHead):
    """mmdet's head with another last step: masks of `mask_size` cells per side inside the box, pasted straight to RLE.

    mmdet enlarges every mask to the whole image (100 of them on a 12-megapixel photo are 1.2 GB) and does not cut it at the box.

    Args:
        mask_size: Cells per side of a mask. 56 are at most 12 pixels of a 640-pixel box, a little more than the 8 of the
            network's own mask cells.
    """

    def __init__(self, *args, mask_size=56, **kwargs):
        super().__init__(*args, **kwargs)
        self.mask_size = mask_size

    def predict_by_feat(self, *maps, batch_img_metas, cfg=None, rescale=False, **kwargs):
        """Detect, and paste the masks.

        Args:
            maps: What `forward` returns.
            batch_img_metas: Per image `scale_factor` (w, h), `ori_shape` and `img_shape`.
            cfg: The test config, if not the head's own.
            rescale: Whether boxes and masks leave in pixels of the original image.
            kwargs: As of mmdet's head.

        Returns:
            Per image InstanceData with `bboxes` (N, 4), `scores` (N,), `labels` (N,) and `masks`, a list of N RLEs.
        """
        found = self.detect(*maps, batch_img_metas=batch_img_metas, cfg=cfg, **kwargs)
        for results, meta in zip(found, batch_img_metas, strict=True):
            if rescale:
                results.bboxes = results.bboxes / results.bboxes.new_tensor(meta["scale_factor"]).repeat(2)
            height, width = meta["ori_shape" if rescale else "img_shape"][:2]
            results.masks = paste_rles(results.bboxes.float().cpu().numpy(), results.masks.float().cpu().numpy(), (height, width),
                                       (cfg or self.test_cfg).mask_thr_binary)
            # only now, because masks fill their boxes, parts of which may lie in what was padded
            results.bboxes = results.bboxes.clamp(max=results.bboxes.new_tensor([width, height, width, height]))
        return found

    def loss_mask_by_feat(self, mask_feats, flatten_kernels, *found):
        """The loss; without any object it depends on the kernels too, for which processes that train together wait."""
        return super().loss_mask_by_feat(mask_feats, flatten_kernels, *found) + 0 * flatten_kernels.sum()

    def detect(self, *maps, **kwargs):
        """As `predict_by_feat`, in pixels of the network's input and with `masks` [N, m, m], probabilities inside the boxes."""
        return super().predict_by_feat(*maps, rescale=False, **kwargs)

    def _bbox_mask_post_process(self, results, mask_feat, cfg, rescale=False, with_nms=True, img_meta=None):
        """One image's candidates after NMS, with the masks of `detect`."""
        sides = results.bboxes[:, 2:] - results.bboxes[:, :2]
        results = results[(sides > cfg.get("min_bbox_size", -1)).all(1)]
        if len(results):
            _, kept = batched_nms(results.bboxes, results.scores, results.labels, cfg.nms)
            results = results[kept[:cfg.max_per_img]]
        logits = self._mask_predict_by_feat_single(mask_feat, results.kernels, results.priors)
        results.masks = crop(logits, results.bboxes, self.prior_generator.strides[0][0], self.mask_size).sigmoid()
        return results


def crop(maps, boxes, stride, size):
    """Read maps inside boxes, bilinearly.

    Args:
        maps: [N, h, w], of whose cells each is `stride` network pixels wide.
        boxes: [N, 4] x1 y1 x2 y2 in network pixels.
        stride: Network pixels per cell.
        size: Points per side.

    Returns:
        [N, size, size], the values at the middles of equal parts of the boxes.
    """
    height, width = int(maps.shape[1]), int(maps.shape[2])
    steps = (torch.arange(size, dtype=boxes.dtype, device=boxes.device) + 0.5) / size
    x, y = (low + steps * (high - low) for low, high in ((boxes[:, 0:1], boxes[:, 2:3]), (boxes[:, 1:2], boxes[:, 3:4])))
    x, y = (2 * place / (cells * stride) - 1 for place, cells in ((x, width), (y, height)))  # -1…1, as grid_sample counts
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], 3)
    return functional.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
