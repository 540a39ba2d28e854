"""What a model server answers, checked before anything is computed with it. Needs no torch."""

import math

import msgspec
import numpy as np

from instance_segmentation.inference.contracts import BATCHED, MASK_RCNN, SEGMENTOLY, YOLACT, is_fixed
from instance_segmentation.json_files import JsonError, parse_json

TYPES = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
         "INT64": np.int64, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "BOOL": np.bool_}
SIDES = 6  # dimensions at most
NUMBERS = 1 << 26  # of a tensor at most: 256 MiB as float32
# Equal letters of an output's sides are equal lengths, a digit is that length
SHAPES = {
    MASK_RCNN.title: dict(boxes="N5", labels="N", masks="Nhw"), BATCHED.title: dict(boxes="1N5", labels="1N", masks="1Nhw"),
    SEGMENTOLY.title: dict(boxes="N4", scores="N", classes="N", raw_masks="NChw"),
    YOLACT.title: dict(boxes="1P4", conf="1PC", mask="1Pk", proto="1hwk")}


class ServerError(Exception):
    """An answer that is none; the message goes on after the server's address: "sends no JSON …"."""


class Port(msgspec.Struct):
    """An input or output of a model; lengths below 1 are not fixed."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(msgspec.Struct):
    """What is needed of a server's metadata.

    Attributes:
        inputs, outputs: Ports.
        rt_info: OVMS adds the entries of the model's file.
    """

    inputs: list[Port]
    outputs: list[Port]
    rt_info: dict = {}

    @property
    def entries(self):
        """The model's entries about itself, key → text."""
        entries = self.rt_info.get("model_info")
        return {key: str(value) for key, value in entries.items()} if isinstance(entries, dict) else {}


class Tensor(msgspec.Struct):
    """An output: its values lie in `data`, or as bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict = {}
    data: list | None = None


class Answer(msgspec.Struct):
    """An inference."""

    outputs: list[Tensor]


def decoded(content):
    """The JSON of an answer.

    Raises:
        ServerError: It is none.
    """
    try:
        return parse_json(bytes(content))
    except JsonError as error:
        raise ServerError(f"sends something else than KServe's JSON: it {error}") from None


def header_length(text, length, most):
    """How many bytes of an answer are JSON: what the header says, all of them without it."""
    if text is None:
        return length
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > min(length, most):
        raise ServerError(f"says that {text[:40]} bytes of {length:,} are JSON")
    return int(text)


def read_metadata(value):
    """Check a server's metadata.

    Raises:
        ServerError: It is none, or of something that is fed with no image.
    """
    metadata = _converted(value, Metadata)
    for port in (*metadata.inputs, *metadata.outputs):
        if len(port.shape) > SIDES or math.prod(side for side in port.shape if side > 0) > NUMBERS:
            raise ServerError(f"says that '{port.name[:40]}' has the shape {str(port.shape)[:80]}, more than can be true")
    for port in metadata.inputs:
        if port.datatype not in TYPES or not port.shape:
            raise ServerError(f"wants '{port.name[:40]}' as {port.datatype[:40]} {port.shape}, which is no tensor of numbers")
    return metadata


def _converted(value, kind):
    try:
        return msgspec.convert(value, kind, strict=False)  # gRPC's JSON has whole numbers as text
    except (msgspec.ValidationError, RecursionError) as error:
        raise ServerError(f"answers in another form than KServe's: {str(error)[:200]}") from None


def tensors_of(value, tail):
    """The outputs of an inference.

    Args:
        value: The answer's JSON.
        tail: Bytes behind it.

    Returns:
        Output name → array.

    Raises:
        ServerError: They are not as KServe has them.
    """
    arrays, at = {}, 0
    for tensor in _converted(value, Answer).outputs:
        count = _count(tensor)
        if "binary_data_size" in tensor.parameters:
            size = tensor.parameters["binary_data_size"]
            if type(size) is not int or size != count * np.dtype(TYPES[tensor.datatype]).itemsize or size > len(tail) - at:
                raise ServerError(f"sends other bytes of '{tensor.name[:40]}' than {tensor.datatype} {tensor.shape} needs")
            array = np.frombuffer(tail[at:at + size], TYPES[tensor.datatype])
            at += size
        else:
            array = _array(tensor, count)
        arrays[tensor.name] = array.reshape(tensor.shape)
    return arrays


def _count(tensor):
    """Number of a tensor's values."""
    if tensor.datatype not in TYPES:
        raise ServerError(f"sends '{tensor.name[:40]}' of the type {tensor.datatype[:40]}; expected one of {', '.join(TYPES)}")
    if len(tensor.shape) > SIDES or min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) > NUMBERS:
        raise ServerError(f"sends '{tensor.name[:40]}' with the shape {str(tensor.shape)[:80]}, more than can be true")
    return math.prod(tensor.shape)


def _array(tensor, count):
    """The values of `data`, a list of numbers, or one for each dimension in another."""
    try:
        array = np.array(tensor.data or (), TYPES[tensor.datatype])
    except (ValueError, TypeError, OverflowError):
        raise ServerError(f"sends something else than numbers of {tensor.datatype} in '{tensor.name[:40]}'") from None
    if array.size != count:
        raise ServerError(f"sends {array.size:,} values of '{tensor.name[:40]}', whose shape {tensor.shape} has {count:,}")
    return array


def fitting(arrays, contract, names, declared):
    """Check that the outputs of an inference belong together as the kind of model has them.

    Args:
        arrays: Output name → array.
        contract: A Contract.
        names: Our name of each output → the model's.
        declared: Output name → shape in the metadata.

    Returns:
        The arrays that the contract needs, by the model's names.

    Raises:
        ServerError: One is missing, has another shape than said, or holds class numbers that are none.
    """
    lengths = {}
    for ours, theirs in names.items():
        if theirs not in arrays:
            raise ServerError(f"sends no output '{theirs}'")
        shape, said, sides = arrays[theirs].shape, declared[theirs], SHAPES[contract.title][ours]
        if len(shape) != len(sides) or any(is_fixed(want) and want != got for want, got in zip(said, shape, strict=True)) or any(
                got != (int(side) if side.isdigit() else lengths.setdefault(side, got))
                for side, got in zip(sides, shape, strict=True)):
            raise ServerError(f"sends '{theirs}' with the shape {list(shape)}, which does not fit {said} in its metadata and the "
                              "other outputs")
    for ours in {"labels", "classes"} & set(names):
        numbers = arrays[names[ours]]
        most = lengths.get("C", 1 << 31)
        if not (np.isfinite(numbers).all() and numbers.min(initial=0) >= -1 and numbers.max(initial=0) < most):
            raise ServerError(f"sends class numbers in '{names[ours]}' that are none")
    return {theirs: arrays[theirs] for theirs in names.values()}
