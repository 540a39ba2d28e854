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
    options = {"PERFORMANCE_HINT": "LATENCY", **(options or {})}
    planned = (own_facts(model).get("runtime") or {}).get(options["PERFORMANCE_HINT"], {}) if device == "CPU" else {}
    try:
        return core().compile_model(model, device, {"INFERENCE_PRECISION_HINT": "f32", **planned, **options})
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO device {device}: cannot run this model: {str(error).strip().splitlines()[-1]}\n"
                           f"Devices of this machine: {', '.join(core().available_devices)}") from error


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
        if not idle:
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
