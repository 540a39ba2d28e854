"""What stands in for mmcv's compiled operations where they cannot be built: NMS and RoIAlign in torch's own operations.

`run.sh` copies it into mmcv's folder as `_ext.py`. Templates with deformable convolutions cannot run with it.
"""

import torch


def nms(boxes, scores, iou_threshold, offset):
    """Indices of the boxes that greedy NMS keeps, best first; boxes [N, 4], scores [N]."""
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    area = (ranked[:, 2:] - ranked[:, :2] + offset).clamp(min=0).prod(1)
    top_left = torch.max(ranked[:, None, :2], ranked[None, :, :2])
    bottom_right = torch.min(ranked[:, None, 2:], ranked[None, :, 2:])
    shared = (bottom_right - top_left + offset).clamp(min=0).prod(2)
    overlaps = (shared > iou_threshold * (area[:, None] + area[None] - shared)).cpu().numpy()
    keep = torch.ones(len(ranked), dtype=torch.bool)
    kept = keep.numpy()
    for index in range(len(ranked)):
        if kept[index]:
            kept[index + 1:] &= ~overlaps[index, index + 1:]
    return order[keep.to(order.device)]


def _pooled(features, rois, size, scale, exact):
    from instance_segmentation.engine.roi_align import SparseRoIAlign
    if not exact:
        raise RuntimeError("only average pooling, aligned, with samples by size, has a stand-in")
    return SparseRoIAlign(size, scale)(features, rois)


def roi_align_forward(features, rois, output, argmax_y, argmax_x, aligned_height, aligned_width, spatial_scale, sampling_ratio,
                      pool_mode, aligned):
    """Fill `output` [R, C, s, s]."""
    exact = pool_mode == 1 and aligned and sampling_ratio == 0
    output.copy_(_pooled(features, rois, aligned_height, spatial_scale, exact))


def roi_align_backward(gradient, rois, argmax_y, argmax_x, output, aligned_height, aligned_width, spatial_scale, sampling_ratio,
                       pool_mode, aligned):
    """Fill `output` [N, C, H, W], the gradient of the features."""
    exact = pool_mode == 1 and aligned and sampling_ratio == 0
    with torch.enable_grad():
        features = torch.zeros_like(output, requires_grad=True)
        pooled = _pooled(features, rois, aligned_height, spatial_scale, exact)
        output.copy_(torch.autograd.grad(pooled, features, gradient)[0])


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise RuntimeError(f"the operation {name} needs mmcv's compiled extension")
    return missing
