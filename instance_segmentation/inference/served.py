"""A model on OpenVINO Model Server, or any server that speaks KServe v2, over REST or gRPC. Needs no torch."""

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException

import numpy as np

from instance_segmentation.errors import MissingExtraError, WeightsError
from instance_segmentation.inference.contracts import contract_of
from instance_segmentation.inference.exported import assemble
from instance_segmentation.ir.info import info_of
from instance_segmentation.ir.preprocessing import guess_layout, parse_layout

ADDRESS = re.compile(r"(?:(http|grpc)://)?([^/:\s]+:\d+)/(?:v2/)?models/([\w.-]+)(?:(?::|/versions/)(\d+))?/?")
TIMEOUT_S = 30.0


def load_served(address, options):
    """Connect to a model on a server.

    Args:
        address: `HOST:PORT/models/NAME`, with `:VERSION` for one that is not the newest. What the port speaks, REST or gRPC, is
            found out, unless the address begins with `http://` or `grpc://`.
        options: LoadOptions; the device and its properties are the server's own.

    Returns:
        A Detector.

    Raises:
        WeightsError: The address is none, nobody answers there within 30 s, or there is no such model; also in the midst of a
            run.
        MissingExtraError: The client library is not installed.
    """
    server = connect(address)
    inputs, outputs = ({item["name"]: [int(side) for side in item["shape"]] for item in server.metadata[key]}
                       for key in ("inputs", "outputs"))
    contract = contract_of(inputs, outputs, address)
    image = contract.image_input(inputs)
    layout = parse_layout(options.layout, list(inputs)).get(image) or guess_layout(inputs[image])
    size_hw = inputs[image][1:3] if layout == "NHWC" else inputs[image][2:]
    entries = {key: str(value) for key, value in server.metadata.get("rt_info", {}).get("model_info", {}).items()}
    info = info_of(entries, size_hw, address, options.names)

    def run(tensors):
        tensors = dict(tensors) if isinstance(tensors, dict) else {image: tensors}
        tensors[image] = _pixels(tensors[image], options.mean or info.mean, info.scale, layout)
        return server.infer(tensors, outputs)
    return assemble(run, contract, outputs, info, size_hw, options, address)


def connect(address):
    """A Server for an address; raises as `load_served` does."""
    match = ADDRESS.fullmatch(address)
    if not match:
        raise WeightsError(f"-m {address}: expected HOST:PORT/models/NAME or HOST:PORT/models/NAME:VERSION with --adapter ovms")
    scheme, *place = match.groups()
    if scheme:
        return Server(address, scheme, *place)
    try:
        return Server(address, "http", *place)
    except WeightsError as error:
        if not isinstance(error.__cause__, HTTPException):
            raise
        return Server(address, "grpc", *place)  # what answered was no HTTP


@dataclass
class Server:
    """A model on a server: its metadata, and inference.

    Args:
        address: For errors.
        scheme: `http` (KServe's REST) or `grpc`.
        host: `NAME:PORT`.
        name, version: Of the model; the newest version when None.
    """

    address: str
    scheme: str
    host: str
    name: str
    version: str | None
    metadata: dict = field(init=False)

    def __post_init__(self):
        self.protocol, self.version = _protocol(self.scheme), self.version or ""
        self.limits = dict(client_timeout=TIMEOUT_S) if self.scheme == "grpc" else {}
        with _explained(self.address):
            self.client = self.protocol.InferenceServerClient(self.host, **({} if self.limits else dict(
                connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S)))
            as_json = dict(as_json=True) if self.limits else {}  # in REST it always is
            self.metadata = self.client.get_model_metadata(self.name, self.version, **as_json, **self.limits)
        self.types = {item["name"]: item["datatype"] for item in self.metadata["inputs"]}

    def infer(self, tensors, outputs):
        """Arrays by input name → arrays by output name."""
        with _explained(self.address):
            answer = self.client.infer(self.name, [self._input(*item) for item in tensors.items()], self.version, **self.limits)
        return {output: answer.as_numpy(output) for output in outputs}

    def _input(self, name, array):
        from tritonclient.utils import triton_to_np_dtype
        tensor = self.protocol.InferInput(name, array.shape, self.types[name])
        tensor.set_data_from_numpy(np.ascontiguousarray(array, triton_to_np_dtype(self.types[name])))
        return tensor


def _protocol(scheme):
    """The client library's module for REST or gRPC; both have the same classes."""
    try:
        if scheme == "grpc":
            from tritonclient import grpc as protocol
        else:
            from tritonclient import http as protocol
    except (ImportError, RuntimeError) as error:  # RuntimeError: the library without this part
        raise MissingExtraError("ovms", f"--adapter ovms over {scheme}") from error
    return protocol


def _pixels(tensor, mean, scale, layout):
    """The image as the model wants it, from [1, 3, H, W] of 0–255."""
    tensor = tensor.astype(np.float32)
    tensor = (tensor - np.reshape(mean or 0, (1, -1, 1, 1))) / np.reshape(scale or 1, (1, -1, 1, 1))
    return tensor.transpose(0, 2, 3, 1) if layout == "NHWC" else tensor


@contextmanager
def _explained(address):
    """Say in words what went wrong between here and the server."""
    from tritonclient.utils import InferenceServerException
    late, gone = f"-m {address}: no answer within {TIMEOUT_S:.0f} s", f"-m {address}: cannot be reached"
    try:
        yield
    except InferenceServerException as error:
        if "DEADLINE_EXCEEDED" in str(error.status()):
            raise WeightsError(late) from error
        if "UNAVAILABLE" in str(error.status()):
            raise WeightsError(f"{gone} ({error.message()}). Is the server running, and is this its port?") from error
        raise WeightsError(f"-m {address}: the server refuses: {error.message()}. Does it serve a model of this name and "
                           "version?") from error
    except TimeoutError as error:
        raise WeightsError(late) from error
    except (OSError, HTTPException) as error:
        raise WeightsError(f"{gone} ({error}). Is the server running, and is this its port?") from error
