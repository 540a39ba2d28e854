"""A pretended GPU on a build of torch for CPUs: real numbers, CUDA's rules about devices.

Tensors "on the GPU" are wrappers around CPU tensors, on a device that torch lets Python programs define. As with CUDA, an
operation on tensors of two devices raises, so does `.numpy()`, and mmcv's compiled operations refuse CPU tensors beside others.
What makes the processor wait for the GPU is counted. It cannot show cuDNN, autocast, NCCL or memory.

As a program it takes templates through training steps, prediction and validation and prints a JSON line for each; the
changes to torch last as long as the process, so tests run it in one of their own:

    python -m tests.component.pretended_gpu TEMPLATE… exported:ExportedDetector
"""

import json
import sys
import tempfile
from typing import Union

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MIXED = {aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default, aten.index_put.default,
         aten._index_put_impl_.default, aten.set_.source_Tensor}  # may take CPU tensors beside CUDA's
PUTS = {aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.is_nonzero.default,
         aten.equal.default}
NAME = "pretended"
SIZE_HW = 128, 128
waits = [0]


class Gpu(torch.Tensor):
    """A tensor whose numbers are those of the CPU tensor `elem`."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, elem, requires_grad=False):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, elem.shape, strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype, layout=elem.layout,
            device=torch.device(NAME, 0), requires_grad=requires_grad)
        tensor.elem = elem
        return tensor

    def __repr__(self):
        return f"Gpu({self.elem})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        _check_devices(func, args, tensors)
        waits[0] += func in WAITS
        stays = True  # on the GPU
        if kwargs.get("device") is not None:
            stays = torch.device(kwargs["device"]).type in ("cuda", NAME)
            kwargs["device"] = torch.device("cpu")
            waits[0] += not stays
        if func is aten.copy_.default:
            stays = isinstance(args[0], Gpu)
        if "pin_memory" in kwargs:
            kwargs["pin_memory"] = False
        return tree_map(lambda value: _rewrap(value, tensors, stays), func(*unwrap(args), **unwrap(kwargs)))


def _check_devices(func, args, tensors):
    """Raise what CUDA raises when tensors of the wrong device meet; numbers (0 dimensions) may lie anywhere."""
    elsewhere = [tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, Gpu) and tensor.dim()]
    mixed = elsewhere and len(elsewhere) < len(tensors)
    if mixed and func not in MIXED:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found cuda:0 and cpu {elsewhere}")
    if func in PUTS and (not isinstance(args[0], Gpu) or not isinstance(args[2], Gpu) and args[2].dim()):
        raise RuntimeError(f"{func}: the values lie on another device than the tensor")
    if func is aten.index.Tensor and not isinstance(args[0], Gpu):
        raise RuntimeError(f"{func}: indices on cuda:0, the tensor on the cpu")


def _rewrap(value, tensors, stays):
    """A result: the very tensor that was given where the operation worked in place."""
    if not isinstance(value, torch.Tensor):
        return value
    same = [tensor for tensor in tensors if value is tensor or isinstance(tensor, Gpu) and value is tensor.elem]
    return same[0] if same else Gpu(value) if stays else value


def unwrap(values):
    """The CPU tensors inside nested values."""
    return tree_map(lambda value: value.elem if isinstance(value, Gpu) else value, values)


def _upload(tensor, dtype=None, memory_format=torch.preserve_format):
    with torch.no_grad():
        copy = tensor.detach().to(dtype or tensor.dtype).clone(memory_format=memory_format)
    return Gpu(copy, requires_grad=tensor.requires_grad)


def _download(tensor, dtype=None):
    waits[0] += 1
    return tensor.detach().elem.to(dtype or tensor.dtype).clone()


class PretendedCuda(TorchFunctionMode):
    """Within the block, `device="cuda"`, `.to("cuda")` and `.cuda()` make tensors on the pretended GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, first = dict(kwargs or {}), args[0] if args else None
        moves = {torch.Tensor.to: None, torch.Tensor.cuda: "cuda", torch.Tensor.cpu: "cpu"}
        if func is torch.Tensor.pin_memory:
            return first
        if func in moves:
            device = moves[func] or _device_among(args[1:2] + (kwargs.get("device"),))
            dtype = kwargs.get("dtype") or next((value for value in args if isinstance(value, torch.dtype)), None)
            if device in ("cuda", NAME) and not isinstance(first, Gpu):
                return _upload(first, dtype, kwargs.get("memory_format", torch.preserve_format))
            if device == "cpu" and isinstance(first, Gpu):
                return _download(first, dtype)
        elif isinstance(first, Gpu) and func in METHODS:
            return METHODS[func](func, args, kwargs)
        elif kwargs.get("device") is not None and torch.device(kwargs["device"]).type in ("cuda", NAME) and not any(
                isinstance(leaf, Gpu) for leaf in tree_leaves(args)):
            wants = kwargs.pop("requires_grad", False)
            made = func(*args, **kwargs | dict(device=torch.device("cpu")))
            return tree_map(lambda value: Gpu(value.detach(), wants) if isinstance(value, torch.Tensor) else value, made)
        return func(*args, **kwargs)


def _device_among(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            return value.device.type
        if isinstance(value, (str, int, torch.device)):
            return "cuda" if isinstance(value, int) else torch.device(value).type
    return None


def _numpy(func, args, kwargs):
    raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")


def _tolist(func, args, kwargs):
    waits[0] += 1
    return args[0].elem.tolist()


def _new_tensor(func, args, kwargs):
    kwargs.pop("device", None)
    return Gpu(args[0].elem.new_tensor(unwrap(args[1]), **kwargs))


def _item(func, args, kwargs):
    """Reading or writing by an index: lists and arrays in it become tensors of the device, as CUDA's own indexing makes them."""
    target, index, *value = args
    index = tuple(map(_place, index)) if isinstance(index, tuple) else _place(index)
    if value and isinstance(value[0], (int, float, bool)):
        value = [Gpu(torch.tensor(value[0], dtype=target.dtype))]
    return func(target, index, *value, **kwargs)


def _place(index):
    if isinstance(index, (list, range)) or isinstance(index, np.ndarray) and index.ndim:
        tensor = torch.as_tensor(list(index) if isinstance(index, range) else index)
        return Gpu(tensor if tensor.numel() else tensor.long())
    return index


METHODS = {torch.Tensor.numpy: _numpy, torch.Tensor.tolist: _tolist, torch.Tensor.new_tensor: _new_tensor,
           torch.Tensor.__getitem__: _item, torch.Tensor.__setitem__: _item}


def pretend():
    """Make the device, and let mmcv and mmengine know it; for the rest of the process."""
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    _wrap_mmcv()
    from mmengine.structures import instance_data

    class Kind(type):
        def __instancecheck__(cls, value):
            return isinstance(value, Gpu) and value.dtype == torch.bool

    class GpuBool(metaclass=Kind):
        """What mmengine, which knows CUDA's tensors by their type, takes for indices."""

    instance_data.IndexType = str | slice | int | list | torch.Tensor | np.ndarray
    instance_data.BoolTypeTensor = Union[torch.BoolTensor, GpuBool]  # noqa: UP007  its metaclass has no |
    return library  # it ends when nobody holds it


def _empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Gpu(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Gpu(torch.empty_strided(size, stride, dtype=dtype))


def _wrap_mmcv():
    """Let mmcv's compiled operations compute with what is inside; they refuse CPU tensors beside CUDA's."""
    import mmcv._ext as extension

    def wrapped(name, operation):
        def call(*args, **kwargs):
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            on_cpu = [tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, Gpu)]
            if len(on_cpu) == len(tensors):
                return operation(*args, **kwargs)
            if on_cpu:
                raise RuntimeError(f"mmcv's {name}: cpu tensors {on_cpu} beside cuda's")
            if any(not tensor.is_contiguous() for tensor in tensors):
                raise RuntimeError(f"mmcv's {name} reads a tensor in the wrong order that is not contiguous")
            found = operation(*unwrap(args), **unwrap(kwargs))
            return tree_map(lambda value: Gpu(value) if isinstance(value, torch.Tensor) else value, found)
        return call
    for name in dir(extension):
        if not name.startswith("_") and callable(getattr(extension, name)):
            setattr(extension, name, wrapped(name, getattr(extension, name)))


def upload(model):
    """Move a network to the pretended GPU, in place."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(Gpu(weight.detach().clone()), requires_grad=weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Gpu(buffer.detach().clone())
        if hasattr(module, "_set_device"):
            module._set_device(torch.device(NAME, 0))
    return model


def build(name):
    """A template's network for two classes as training begins, on the pretended GPU, and its optimizer."""
    from mmdet.registry import MODELS
    from mmengine.optim import build_optim_wrapper

    from instance_segmentation.engine.config import read_config, set_classes
    from instance_segmentation.engine.fast_steps import hasten
    from instance_segmentation.templates.catalogue import find_template
    template = find_template(name)
    cfg = read_config(template.path / template.config)
    set_classes(cfg, ["a", "b"])
    cfg.merge_from_dict(dict(model=cfg.get("from_random", {}).get("model", {})))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for part in (getattr(model, "roi_head", None), getattr(model, "bbox_head", None)):
        if getattr(part, "test_cfg", None):
            part.test_cfg.score_thr = 0.0  # so that random weights find something
    upload(model)
    hasten(model, "cuda", precision="float32")
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def batch(objects, outlines):
    """Two images with so many objects, whose masks are outlines or pictures."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks, PolygonMasks
    from mmengine.structures import InstanceData

    def instances(number):
        square = np.array([10, 10, 60, 10, 60, 70, 10, 70.0])
        picture = np.zeros((number, *SIZE_HW), np.uint8)
        picture[:, 10:70, 10:60] = 1
        masks = PolygonMasks([[square]] * number, *SIZE_HW) if outlines else BitmapMasks(picture, *SIZE_HW)
        boxes = torch.tensor([[10.0, 10, 60, 70]] * number).reshape(-1, 4)
        return InstanceData(bboxes=HorizontalBoxes(boxes), labels=torch.zeros(number, dtype=torch.long), masks=masks)

    meta = dict(img_shape=SIZE_HW, ori_shape=SIZE_HW, batch_input_shape=SIZE_HW, scale_factor=(1.0, 1.0), img_path="a.jpg",
                img_id=1)
    samples = [DetDataSample(metainfo=meta) for _ in range(2)]
    for sample in samples:
        sample.gt_instances, sample.ignored_instances = instances(objects), instances(0)
    images = [torch.randint(150, 255, (3, *SIZE_HW), dtype=torch.uint8) for _ in samples]  # bright, as tiny_models wants them
    return dict(inputs=images, data_samples=samples)


def train_step(model, optimizer, data):
    """Losses of a training step."""
    model.train()
    return {name: float(value) for name, value in model.train_step(data, optimizer).items()}


@torch.no_grad()
def predict(model, optimizer, data):
    """Detections of both images, as the metric writes them down."""
    from instance_segmentation.engine.mask_head import as_rles
    from instance_segmentation.engine.metrics import coco_results
    model.eval()
    found = [sample.pred_instances for sample in model.test_step(data)]
    return dict(found=sum(len(coco_results(1, one.bboxes.float().cpu().numpy(), one.scores, one.labels, as_rles(one.masks)))
                          for one in found))


@torch.no_grad()
def validation_loss(model, optimizer, data):
    """What ValLoopWithLoss computes."""
    model.eval()
    data = model.data_preprocessor(data, False)
    _, losses = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    return {name: float(value) for name, value in losses.items()}


STAGES = {"train with objects": (train_step, 2), "train without objects": (train_step, 0), "predict": (predict, 2),
          "validation loss": (validation_loss, 2), "validation loss without objects": (validation_loss, 0)}


def exported(kind):
    """Detections of an exported model that stands in a checkpoint's place, as ExportedDetector or as TestedDetector."""
    from instance_segmentation.engine.tested_detector import TestedDetector
    from instance_segmentation.inference.exported import load_exported
    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.info import IrInfo, rt_info
    from tests.unit import tiny_models
    with tempfile.TemporaryDirectory() as folder:
        facts = rt_info(IrInfo(("a", "b"), SIZE_HW), 0.5)
        path = tiny_models.mask_rcnn(f"{folder}/model.xml", rt_info=facts, shape=(1, 3, *SIZE_HW))
        model = ExportedDetector(path) if kind == "ExportedDetector" else TestedDetector(load_exported(path))
    return upload(model)


def main(names):
    """Print {template, stage, numbers or error, waits} for each template and stage.

    A name that begins with `exported:` is that of a class that runs an exported model, which can only predict.
    """
    import logging

    from instance_segmentation.engine import register
    logging.disable(logging.WARNING)  # mmengine's lines about each layer's start
    register("A test")
    kept = pretend()
    for name in names:
        with PretendedCuda():
            if name.startswith("exported:"):
                model, optimizer, stages = exported(name.split(":")[1]), None, ["predict"]
            else:
                (model, optimizer), stages = build(name), STAGES
            for stage in stages:
                run, objects = STAGES[stage]
                waits[0] = 0
                try:
                    said = dict(numbers=run(model, optimizer, batch(objects, "yolact" not in name)))
                except Exception as error:  # whatever a stage raises is a result; the next ones are looked at, too
                    said = dict(error=f"{type(error).__name__}: {error}")
                print(json.dumps(dict(template=name, stage=stage, waits=waits[0], **said)), flush=True)
    del kept


if __name__ == "__main__":
    main(sys.argv[1:])
