"""Hook: what makes a training step faster and changes nothing that it computes but the rounding."""

import functools

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn

from instance_segmentation.engine.gpu import multiplies_float16, suit_gpu
from instance_segmentation.engine.roi_align import SparseRoIAlign
from instance_segmentation.errors import TemplateError
from instance_segmentation.report import say

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@HOOKS.register_module()
class FastSteps(Hook):
    """Prepare the network for training when it begins; measured in benchmarks/training.py.

    Args:
        precision: Numbers that the layers with weights compute in; proposals, assignment, pooling and losses are always float32,
            and so is validation. "auto" is as of `best_precision`; float16 needs ScaledOptimWrapper, as `train_config` sets it.
        channels_last: Keep the channels of a pixel together in memory.
        sparse_roi_align: Pool with SparseRoIAlign on the CPU.
    """

    def __init__(self, precision="auto", channels_last=True, sparse_roi_align=True):
        if precision not in PRECISIONS:
            raise TemplateError(f"precision '{precision}': expected one of {', '.join(PRECISIONS)}")
        self.precision, self.channels_last, self.sparse_roi_align = precision, channels_last, sparse_roi_align

    def before_train(self, runner):
        """Change the network in place, which is neither saved nor seen by validation."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        device = next(model.parameters()).device.type
        chosen = dict(precision=self.precision, channels_last=self.channels_last, sparse_roi_align=self.sparse_roi_align)
        say("Precision", hasten(model, device, **chosen))


def hasten(model, device, precision="auto", channels_last=True, sparse_roi_align=True):
    """Apply what FastSteps describes to an mmdet detector; returns the precision of its layers."""
    if precision == "auto":
        precision = best_precision(device)
    if device == "cuda":
        suit_gpu(model)
    if channels_last:
        keep_channels_together(model)
        replace_forward(model, "extract_feat", keep_channels_last)
    if sparse_roi_align and device == "cpu":
        for extractor in _instances(model, SingleRoIExtractor):
            extractor.roi_layers = nn.ModuleList(map(as_sparse, extractor.roi_layers))
    if precision != "float32":
        reduced = functools.partial(in_reduced, device=device, dtype=getattr(torch, precision))
        replace_forward(model, "extract_feat", reduced)
        for head in _instances(model, (BaseDenseHead, BBoxHead, FCNMaskHead)):
            replace_forward(head, "forward", reduced)
        for layer in model.modules():
            if is_from_mmcv(layer) or device == "cpu" and lacks_bfloat16_kernel(layer):
                replace_forward(layer, "forward", functools.partial(in_float32, device=device), always=True)
    return precision


def keep_channels_together(model):
    """Keep the channels of a pixel together in a model's weights, in place, except where mmcv's compiled code reads them."""
    model.to(memory_format=torch.channels_last)
    for layer in filter(is_from_mmcv, model.modules()):
        layer.to(memory_format=torch.contiguous_format)
        if in_usual_order not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(in_usual_order)


def best_precision(device):
    """What "auto" means: bfloat16 where the device multiplies in it, float16 on older GPUs with units for that, or float32."""
    if multiplies_bfloat16(device):
        return "bfloat16"
    return "float16" if device == "cuda" and multiplies_float16() else "float32"


def multiplies_bfloat16(device):
    """Whether a device has instructions for bfloat16, and not only emulates it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return able.get("avx512_bf16", False) or able.get("amx_bf16", False)


def is_from_mmcv(module):
    """Whether mmcv's compiled code computes a layer (RoIAlign, deformable convolutions): without bfloat16 and channels last."""
    return any(kind.__module__.startswith("mmcv.ops.") for kind in type(module).__mro__)


def in_usual_order(layer, inputs):
    """Hook: give a layer its inputs with the pixels of a channel together; others mmcv silently reads in the wrong order."""
    return tuple(value.contiguous() if isinstance(value, torch.Tensor) else value for value in inputs)


def lacks_bfloat16_kernel(module):
    """Whether oneDNN differentiates a layer ten times slower in bfloat16: depth-wise, with a stride or a large window."""
    return (isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
            and (max(module.stride) > 1 or max(module.kernel_size) > 3))


def as_sparse(layer):
    """The sparse twin of an mmcv RoIAlign, or the layer itself when it pools in another way."""
    height, width = layer.output_size
    same = type(layer).__name__ == "RoIAlign" and layer.aligned and layer.pool_mode == "avg" and layer.sampling_ratio == 0
    return SparseRoIAlign(height, layer.spatial_scale) if same and height == width else layer


def replace_forward(module, name, around, always=False):
    """Put `around(original, *inputs)` in the place of a method, in training mode only, or `always`, as frozen layers need it."""
    original = getattr(module, name)

    @functools.wraps(original)
    def method(*inputs, **named):
        return around(original, *inputs, **named) if always or module.training else original(*inputs, **named)
    setattr(module, name, method)


def keep_channels_last(original, images):
    """Compute with images whose channels lie together."""
    return original(images.contiguous(memory_format=torch.channels_last))


def in_reduced(original, *inputs, device, dtype):
    """Compute in bfloat16 or float16; results leave as float32."""
    with torch.autocast(device, dtype):
        return _float32(original(*inputs))


def in_float32(original, image, *more, device):
    """Compute in float32 inside `in_reduced`."""
    with torch.autocast(device, enabled=False):
        return original(image.float(), *more).to(image.dtype)


def _float32(found):
    """Every tensor inside nested tuples and lists as float32."""
    return found.float() if isinstance(found, torch.Tensor) else type(found)(map(_float32, found))


def _instances(model, kinds):
    return [module for module in model.modules() if isinstance(module, kinds)]
