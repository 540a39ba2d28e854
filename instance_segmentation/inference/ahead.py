"""Inferring several images at a time, results in order. Needs no torch."""

import time
from collections import deque


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
