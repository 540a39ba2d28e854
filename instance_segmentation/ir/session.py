"""Compiling an exported model for a device. Needs no torch."""

import os

from instance_segmentation.errors import WeightsError
from instance_segmentation.ir.core import core
from instance_segmentation.ir.info import own_facts

PRECISIONS = ("f32", "bf16", "f16")


def compile_ir(model, device="CPU", options=None):
    """Compile for one image at a time, in float32, unless told otherwise by the model or the caller.

    Left to itself OpenVINO computes in bfloat16 where the processor can: faster, and different from the checkpoint. A model
    that `instseg plan --apply` wrote says itself how it runs best on a CPU (`IrInfo.runtime`).

    Args:
        model: An ov.Model.
        device: An OpenVINO device name, for example `CPU`, `GPU`, `AUTO`.
        options: OpenVINO properties, which replace the defaults and the model's own one by one.

    Raises:
        WeightsError: The device does not exist or cannot run the model.
    """
    gone = [name for name in ("HDDL", "MYRIAD") if name in device]
    if gone:
        raise WeightsError(f"OpenVINO device {device}: OpenVINO has not supported {gone[0]} since 2023; take CPU, GPU, NPU or "
                           "AUTO")
    options = {"PERFORMANCE_HINT": "LATENCY", **(options or {})}
    planned = planned_properties(model, options["PERFORMANCE_HINT"]) if device == "CPU" else {}
    try:
        return core().compile_model(model, device, {"INFERENCE_PRECISION_HINT": "f32", **planned, **options})
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter for a message that quotes a damaged name
        raise WeightsError(f"OpenVINO device {device}: cannot run this model: {str(error).strip().splitlines()[-1]}\n"
                           f"Devices of this machine: {', '.join(core().available_devices)}") from error


def precision_properties(precision):
    """OpenVINO properties for a precision: one of PRECISIONS, `auto` for the device's own choice, or None for no word of it.

    Raises:
        WeightsError: It is none of these.
    """
    if precision not in (None, "auto", *PRECISIONS):
        raise WeightsError(f"--precision {precision}: expected {', '.join(PRECISIONS)} or auto")
    return {"INFERENCE_PRECISION_HINT": "dynamic" if precision == "auto" else precision} if precision else {}


def planned_properties(model, hint):
    """What `instseg plan` found best, as OpenVINO properties.

    A model is data: of what it says only the precision and the numbers of streams and threads are taken, and no more of these
    than there are processors. Other properties name files and folders to read and write.

    Args:
        model: An ov.Model.
        hint: OpenVINO's performance hint.
    """
    cores, said = os.cpu_count() or 1, (own_facts(model).get("runtime") or {}).get(hint, {})
    counts = {key: min(said[key], cores) for key in ("NUM_STREAMS", "INFERENCE_NUM_THREADS")
              if type(said.get(key)) is int and said[key] > 0}
    precision = said.get("INFERENCE_PRECISION_HINT")
    return counts | ({"INFERENCE_PRECISION_HINT": precision} if precision in PRECISIONS else {})


def throughput_properties(device="CPU", streams="", threads=None):
    """OpenVINO properties for several images at a time.

    Args:
        device: As in `compile_ir`.
        streams: A number, or `DEVICE:NUMBER,DEVICE:NUMBER` for the devices of HETERO, MULTI and AUTO; the device's choice
            when empty.
        threads: Processor threads; the device's choice when None.

    Raises:
        WeightsError: `streams` is neither, or names a device that `device` does not.
    """
    properties = {"PERFORMANCE_HINT": "THROUGHPUT"} | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    if not streams:
        return properties
    pairs = [part.rpartition(":")[::2] for part in streams.split(",")]
    if not all(number.isdigit() and name in device for name, number in pairs) or len({bool(name) for name, _ in pairs}) > 1:
        raise WeightsError(f"-nstreams {streams}: expected a number, or DEVICE:NUMBER,DEVICE:NUMBER with devices of -d {device}")
    if pairs[0][0] in ("", device):
        return properties | {"NUM_STREAMS": pairs[0][1]}
    return properties | {"DEVICE_PROPERTIES": {name: {"NUM_STREAMS": number} for name, number in pairs}}
