"""The parts of a checkpoint are what they should be: a file can hold anything under any name."""

import struct
import zipfile

import torch

from instance_segmentation.errors import WeightsError

REQUIRED = ("classes", "config")  # what every checkpoint of ours says about its network
KINDS = dict(template=str, version=str, start=str, classes=(list, tuple), config=dict, input_size=(list, tuple),
             tile=(list, tuple), batch_size=int, run=str, flags=dict)
LARGEST_SIDE = 16_384  # px of an input


def check_archive(path):
    """Refuse a .pth that unpacks to much more than it is: torch.save compresses nothing.

    Raises:
        WeightsError: It does, or its table of contents is damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({error}); is it complete?") from error
    if unpacked > 4 * path.stat().st_size + 1_000_000:
        raise WeightsError(f"{path}: unpacks to {unpacked / 1e6:,.0f} MB, which no checkpoint does; download it again")


def check_tensors(state):
    """Raise WeightsError when a state is not a dict of names and dense tensors; the message goes on after the file's name."""
    if not isinstance(state, dict) or not state:
        raise WeightsError("expected tensors under 'state_dict', found none or other things")
    for name, tensor in state.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
            raise WeightsError("expected tensors under 'state_dict', found none or other things")
        if not _is_plain(tensor):
            raise WeightsError(f"'{name[:60]}' is no plain tensor of real numbers; save the weights of a float network")


def _is_plain(tensor):
    """Whether a tensor's numbers all lie in the file: a pickle can say that one number is a trillion of them."""
    return (tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
            and not tensor.is_complex() and not tensor.is_nested
            and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes())


def check_meta(meta):
    """Check what is read of a checkpoint's meta.

    Args:
        meta: Of any type.

    Returns:
        A dict without `config`, which mmengine would run as Python when a training goes on.

    Raises:
        WeightsError: A part is of another type; the message goes on after the file's name.
    """
    meta = {key: value for key, value in _dict_or_none(meta, "meta").items() if key != "config"}
    own, dataset = (_dict_or_none(meta.get(key), f"meta.{key}") for key in ("instseg", "dataset_meta"))
    for place, classes in (("meta.CLASSES", meta.get("CLASSES")), ("meta.dataset_meta.classes", dataset.get("classes")),
                           ("meta.dataset_meta.CLASSES", dataset.get("CLASSES")), ("meta.instseg.classes", own.get("classes"))):
        if not (classes is None or isinstance(classes, str) or _are(classes, str)):
            raise WeightsError(f"{place} is no list of class names; it was not saved by a known tool")
    if own:
        _check_own(own)
    return meta


def _dict_or_none(value, place):
    if value is not None and not isinstance(value, dict):
        raise WeightsError(f"{place} is a {type(value).__name__}, expected a dict; it was not saved by a known tool")
    return value or {}


def _check_own(own):
    """Check what only checkpoints of this tool say."""
    absent = [key for key in REQUIRED if not own.get(key)]
    wrong = [key for key, kind in KINDS.items() if not isinstance(own.get(key), (*_tuple(kind), type(None)))]
    size = [] if absent or wrong else own.get("input_size") or own["config"].get("input_size") or []
    if not absent and not wrong and not (len(size) == 2 and _are(size, int) and all(0 < side <= LARGEST_SIDE for side in size)):
        wrong = ["input_size"]
    if absent or wrong:
        raise WeightsError(f"meta.instseg is damaged: {', '.join(absent + wrong)} absent or of another type; take another "
                           "copy of the file")


def _tuple(kind):
    return kind if isinstance(kind, tuple) else (kind,)


def _are(values, kind):
    return isinstance(values, (list, tuple)) and all(isinstance(value, kind) for value in values)
