"""Compiling an exported model for a device, and running it. Needs no torch."""

import time
from collections import deque

from instance_segmentation.errors import WeightsError
from instance_segmentation.ir.core import core
from instance_segmentation.ir.info import own_facts


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
    planned = (own_facts(model).get("runtime") or {}).get(options["PERFORMANCE_HINT"], {}) if device == "CPU" else {}
    try:
        return core().compile_model(model, device, {"INFERENCE_PRECISION_HINT": "f32", **planned, **options})
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO device {device}: cannot run this model: {str(error).strip().splitlines()[-1]}\n"
                           f"Devices of this machine: {', '.join(core().available_devices)}") from error


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


def infer_ahead(compiled, inputs, number=0, took=None):
    """Infer several images at a time.

    Args:
        compiled: An ov.CompiledModel; anything else that can be called with an image works too, one image after the other.
        inputs: Iterable of (item, image), an image being [1, 3, H, W] of any number type and the item whatever belongs to it.
        number: How many at a time; as many as the device likes when 0.
        took: Called with the seconds of each inference.

    Yields:
        (item, outputs) in the order of the inputs. The outputs, by name, may be views that live until the next step.

    Raises:
        RuntimeError: OpenVINO failed on an image; it comes when that image's turn comes. So does what `inputs` raises.
    """
    took = took or (lambda seconds: None)
    if not hasattr(compiled, "create_infer_request"):
        yield from _one_by_one(compiled, inputs, took)
        return
    # one more than run at the same time: the device has work while the caller looks at the outputs of the oldest
    number = number or compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
    idle, running = [compiled.create_infer_request() for _ in range(number)], deque()
    for item, image in inputs:
        while running and (not idle or running[0][1].wait_for(0)):  # a camera's frames shall not wait for later ones
            yield from _oldest(running, idle, took)
        request = idle.pop()
        request.start_async(image)
        running.append((item, request))
    while running:
        yield from _oldest(running, idle, took)


def _one_by_one(call, inputs, took):
    for item, image in inputs:
        began = time.perf_counter()
        outputs = call(image)
        took(time.perf_counter() - began)
        yield item, outputs


def _oldest(running, idle, took):
    """Wait for the first of `running`, yield its item and outputs, and make its request idle."""
    item, request = running.popleft()
    request.wait()
    took(request.latency / 1000)
    yield item, request.results
    idle.append(request)
