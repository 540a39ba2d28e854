"""A model on OpenVINO Model Server, or any server that speaks KServe v2 over REST. Needs no torch."""

import re
from contextlib import contextmanager
from http.client import HTTPException

import numpy as np

from instance_segmentation.errors import MissingExtraError, WeightsError
from instance_segmentation.inference.contracts import contract_of
from instance_segmentation.inference.exported import assemble
from instance_segmentation.ir.info import info_of
from instance_segmentation.ir.preprocessing import guess_layout, parse_layout

ADDRESS = re.compile(r"(?:http://)?([^/:\s]+:\d+)/(?:v2/)?models/([\w.-]+)(?:(?::|/versions/)(\d+))?/?")
TIMEOUT_S = 30.0


def load_served(address, options):
    """Connect to a model on a server.

    Args:
        address: `HOST:PORT/models/NAME`, with `:VERSION` for one that is not the newest. PORT is the server's REST port.
        options: LoadOptions; the device and its properties are the server's own.

    Returns:
        A Detector.

    Raises:
        WeightsError: The address is none, nobody answers there within 30 s, or there is no such model; also in the midst of a
            run.
        MissingExtraError: The client library is not installed.
    """
    match = ADDRESS.fullmatch(address)
    if not match:
        raise WeightsError(f"-m {address}: expected HOST:PORT/models/NAME or HOST:PORT/models/NAME:VERSION with --adapter ovms")
    host, name, version = match[1], match[2], match[3] or ""
    try:
        from tritonclient import http
    except (ImportError, RuntimeError) as error:  # RuntimeError: the library without its HTTP part
        raise MissingExtraError("ovms", "--adapter ovms") from error
    with _explained(address):
        client = http.InferenceServerClient(host, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S)
        metadata = client.get_model_metadata(name, version)
    inputs, outputs = ({item["name"]: [int(side) for side in item["shape"]] for item in metadata[key]}
                       for key in ("inputs", "outputs"))
    contract = contract_of(inputs, outputs, address)
    image = contract.image_input(inputs)
    layout = parse_layout(options.layout, list(inputs)).get(image) or guess_layout(inputs[image])
    size_hw = inputs[image][1:3] if layout == "NHWC" else inputs[image][2:]
    entries = {key: str(value) for key, value in metadata.get("rt_info", {}).get("model_info", {}).items()}
    info = info_of(entries, size_hw, address, options.names)
    types = {item["name"]: item["datatype"] for item in metadata["inputs"]}

    def run(tensors):
        tensors = dict(tensors) if isinstance(tensors, dict) else {image: tensors}
        tensors[image] = _pixels(tensors[image], options.mean or info.mean, info.scale, layout)
        with _explained(address):
            answer = client.infer(name, [_input(http, *item, types) for item in tensors.items()], version)
        return {output: answer.as_numpy(output) for output in outputs}
    return assemble(run, contract, outputs, info, size_hw, options, address)


def _pixels(tensor, mean, scale, layout):
    """The image as the model wants it, from [1, 3, H, W] of 0–255."""
    tensor = tensor.astype(np.float32)
    tensor = (tensor - np.reshape(mean or 0, (1, -1, 1, 1))) / np.reshape(scale or 1, (1, -1, 1, 1))
    return tensor.transpose(0, 2, 3, 1) if layout == "NHWC" else tensor


def _input(http, name, array, types):
    from tritonclient.utils import triton_to_np_dtype
    tensor = http.InferInput(name, array.shape, types[name])
    tensor.set_data_from_numpy(np.ascontiguousarray(array, triton_to_np_dtype(types[name])))
    return tensor


@contextmanager
def _explained(address):
    """Say in words what went wrong between here and the server."""
    from tritonclient.utils import InferenceServerException
    try:
        yield
    except InferenceServerException as error:
        raise WeightsError(f"-m {address}: the server refuses: {error.message()}. Does it serve a model of this name and "
                           "version?") from error
    except TimeoutError as error:
        raise WeightsError(f"-m {address}: no answer within {TIMEOUT_S:.0f} s") from error
    except (OSError, HTTPException) as error:
        raise WeightsError(f"-m {address}: cannot be reached ({error}). Is the server running, and is this its REST port "
                           "(--rest_port), not the gRPC one?") from error
