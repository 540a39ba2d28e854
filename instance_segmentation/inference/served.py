"""A model on OpenVINO Model Server, or any server that speaks KServe v2, over REST or gRPC. Needs no torch."""

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException

import numpy as np

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.answers import TYPES, Metadata, ServerError, fitting, read_metadata, tensors_of
from instance_segmentation.inference.contracts import contract_of
from instance_segmentation.inference.exported import assemble
from instance_segmentation.inference.rest import RestClient
from instance_segmentation.ir.info import info_of
from instance_segmentation.ir.preprocessing import guess_layout, parse_layout

ADDRESS = re.compile(r"(?:(http|grpc)://)?([^/:\s]+:\d+)/(?:v2/)?models/([\w.-]+)(?:(?::|/versions/)(\d+))?/?")
TIMEOUT_S = 30.0  # for a whole answer, not for a part of it


def load_served(address, options):
    """Connect to a model on a server.

    Args:
        address: `HOST:PORT/models/NAME`, with `:VERSION` for one that is not the newest. What the port speaks, REST or gRPC, is
            found out, unless the address begins with `http://` or `grpc://`.
        options: LoadOptions; the device and its properties are the server's own.

    Returns:
        A Detector.

    Raises:
        WeightsError: The address is none, nobody answers there within 30 s, there is no such model, or what comes is none of
            KServe's answers; also in the midst of a run.
        MissingExtraError: The client library for gRPC is not installed.
    """
    server = connect(address)
    inputs, outputs = ({port.name: port.shape for port in ports} for ports in (server.metadata.inputs, server.metadata.outputs))
    contract = contract_of(inputs, outputs, address)
    image, names = contract.image_input(inputs), contract.names(outputs)
    layout = parse_layout(options.layout, list(inputs)).get(image)
    size_hw, layout = _image_size(inputs[image], layout, address)
    info = info_of(server.metadata.entries, size_hw, address, options.names)

    def run(tensors):
        tensors = dict(tensors) if isinstance(tensors, dict) else {image: tensors}
        tensors[image] = _pixels(tensors[image], options.mean or info.mean, info.scale, layout)
        with explained(address):
            return fitting(server.infer(tensors), contract, names, outputs)
    return assemble(run, contract, outputs, info, size_hw, options, address)


def _image_size(shape, layout, address):
    """Height and width of the image input, and its layout.

    Raises:
        WeightsError: It takes no image of three channels.
    """
    if len(shape) == 4:
        layout = layout or guess_layout(shape)
        sizes = {"NCHW": shape[1:], "NHWC": [shape[3], *shape[1:3]]}.get(layout, (0,))
        if sizes[0] == 3:
            return sizes[1:], layout
    raise WeightsError(f"{address}: its input has the shape {shape}; expected that of an image, [1, 3, H, W] or [1, H, W, 3]"
                       + (f", with --layout {layout} too" if layout else ""))


def connect(address):
    """A Server for an address; raises as `load_served` does."""
    match = ADDRESS.fullmatch(address)
    if not match:
        raise WeightsError(f"{address}: expected HOST:PORT/models/NAME or HOST:PORT/models/NAME:VERSION with the adapter ovms")
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
    metadata: Metadata = field(init=False)

    def __post_init__(self):
        place = self.host, self.name, self.version or "", TIMEOUT_S
        if self.scheme == "grpc":
            from instance_segmentation.inference.grpc_client import GrpcClient
            self.client = GrpcClient(*place)
        else:
            self.client = RestClient(*place)
        with explained(self.address):
            self.metadata = read_metadata(self.client.metadata())
        self.types = {port.name: port.datatype for port in self.metadata.inputs}

    def infer(self, tensors):
        """Arrays by input name → arrays by output name."""
        types = {name: self.types[name] for name in tensors}
        return tensors_of(*self.client.infer({name: (np.ascontiguousarray(array, TYPES[types[name]]), types[name])
                                              for name, array in tensors.items()}))


def _pixels(tensor, mean, scale, layout):
    """The image as the model wants it, from [1, 3, H, W] of 0–255."""
    tensor = tensor.astype(np.float32)
    tensor = (tensor - np.reshape(mean or 0, (1, -1, 1, 1))) / np.reshape(scale or 1, (1, -1, 1, 1))
    return tensor.transpose(0, 2, 3, 1) if layout == "NHWC" else tensor


@contextmanager
def explained(address):
    """Say in words what went wrong between here and the server."""
    try:
        yield
    except ServerError as error:
        raise WeightsError(f"{address}: the server {error}. Does it serve a model of this name and version, by KServe v2?"
                           ) from error
    except TimeoutError as error:
        raise WeightsError(f"{address}: no answer within {TIMEOUT_S:.0f} s") from error
    except (OSError, HTTPException) as error:
        reason = str(error).strip() or type(error).__name__
        raise WeightsError(f"{address}: cannot be reached ({reason}). Is the server running, and is this its port?") from error
