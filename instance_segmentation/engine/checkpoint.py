"""Checkpoints: read them without running their code, rename legacy keys, load what fits and say what did not."""

import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from instance_segmentation.engine.checkpoint_parts import check_archive, check_meta, check_tensors
from instance_segmentation.engine.class_transfer import carry_over, same_classes
from instance_segmentation.engine.legacy import modern_key
from instance_segmentation.errors import WeightsError

# The layers that classify, and their rows for COCO's 80 classes: of Mask R-CNN, a cascade and RTMDet-Ins, which has no background
COCO_HEADS = (("roi_head.bbox_head.fc_cls.weight", 81), ("roi_head.bbox_head.0.fc_cls.weight", 81),
              ("bbox_head.rtm_cls.0.weight", 80))


def read_checkpoint(path, trust=False):
    """Read a checkpoint's tensors and plain values.

    Args:
        path: A .pth file.
        trust: Unpickle arbitrary objects, which can run code. Only for files the user trusts.

    Returns:
        A dict with `state_dict` (name → CPU tensor) and `meta` (a dict, possibly empty), whatever else the file holds.

    Raises:
        WeightsError: The file is missing, damaged, no checkpoint, or holds objects that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the path of a .pth checkpoint to --load-weights")
    content = read_torch_file(path, trust)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a dict of tensors or a dict with 'state_dict', got {type(content).__name__}")
    state, around = (content["state_dict"], content) if "state_dict" in content else (content, {})
    try:
        check_tensors(state)
        meta = check_meta(around.get("meta"))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {**around, "state_dict": state, "meta": meta}


def read_torch_file(path, trust=False):
    """What torch.save wrote, tensors on the CPU; arguments and errors are those of `read_checkpoint`."""
    check_archive(path)
    try:
        with torch.serialization.safe_globals(_harmless_classes()):
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, because reading it could run code: {_what_it_asks_for(error)}\n"
            "If you trust whoever made this file, pass --trust-checkpoint.") from error
    except Exception as error:  # a damaged file makes the parts of a pickle fail in any way
        raise WeightsError(f"{path}: not a readable checkpoint ({_first_line(error)}); is it complete?") from error


def _harmless_classes():
    """What NumPy numbers and arrays in a checkpoint's meta are made of."""
    import numpy as np
    from numpy._core.multiarray import _reconstruct, scalar
    return [_reconstruct, scalar, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "fdlqiB")]


def _what_it_asks_for(error):
    """The object that torch refused, from its long message."""
    match = re.search(r"GLOBAL (\S+)", str(error))
    return f"it asks for {match[1]}" if match else _first_line(error)


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@dataclass
class LoadReport:
    """What happened to each tensor of a checkpoint and of the network; names are the network's where both exist.

    Where their class lists differ, `known` and `new` say what happened to each class of the network.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def rows(self):
        """Rows (what, how many, why or which) of the table shown at the start."""
        rows = [("loaded", len(self.loaded), ""),
                ("  of these renamed", len(self.renamed), _example(" → ".join(pair) for pair in self.renamed)),
                ("skipped: another shape", len(self.resized), _example(self.resized)),
                ("not in the file, start fresh", len(self.missing), _example(self.missing)),
                ("not in the network, unused", len(self.unused), _example(self.unused)),
                ("classes whose heads are carried over", len(self.known), ", ".join(self.known)),
                ("classes that start fresh", len(self.new), ", ".join(self.new))]
        return [row for row in rows if row[1]]


def _split(source, target):
    """The target's classes that the source knows, with the source's name where it differs, and those it does not."""
    origins = same_classes(source, target)
    known = [name if source[origin] == name else f"{name} ← {source[origin]}"
             for name, origin in zip(target, origins, strict=True) if origin is not None]
    return known, [name for name, origin in zip(target, origins, strict=True) if origin is None]


def _example(names):
    names = list(names)
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")


def classes_of(checkpoint):
    """Class names of a checkpoint: ours, mmdet 3's, mmdet 2's, or COCO's 80 by the head's size; None when unknown."""
    meta = checkpoint["meta"]
    dataset = meta.get("dataset_meta") or {}
    classes = ((meta.get("instseg") or {}).get("classes") or dataset.get("classes") or dataset.get("CLASSES")
               or meta.get("CLASSES"))
    if classes:
        return (classes,) if isinstance(classes, str) else tuple(classes)
    state = checkpoint["state_dict"]
    if any(name in state and state[name].shape[:1] == (rows,) for name, rows in COCO_HEADS):  # published without a class list
        from mmdet.datasets import CocoDataset
        return tuple(CocoDataset.METAINFO["classes"])
    return None


def load_state(model, state, source=None, target=None):
    """Copy every tensor that fits into `model`, in place.

    Args:
        model: An nn.Module.
        state: Name → tensor; legacy backbone names (pytorchcv) are understood.
        source, target: Class names of `state` and of `model`, in label order. Where both are known and differ, the heads'
            rows follow the names.

    Returns:
        A LoadReport. Tensors of another shape are skipped, as when the number of classes changes.

    Raises:
        WeightsError: Not one tensor fits.
    """
    own, report, fitting = model.state_dict(), LoadReport(), {}
    if source and target and list(source) != list(target):
        carried = carry_over(own, state, source, target)
        state = {**state, **carried}
        report.known, report.new = _split(source, target) if carried else ([], list(target))
    for name, tensor in state.items():
        key = name if name in own else modern_key(name)
        if key not in own:
            report.unused.append(name)
        elif own[key].shape != tensor.shape:
            report.resized.append(key)
        else:
            fitting[key] = tensor
            report.loaded.append(key)
            if key != name:
                report.renamed.append((name, key))
    report.missing = [key for key in own if key not in fitting and key not in report.resized]
    if not fitting:
        raise WeightsError("none of the checkpoint's tensors fits this network; it belongs to another architecture "
                           f"(first names: {_example(state)})")
    model.load_state_dict(fitting, strict=False)
    return report
