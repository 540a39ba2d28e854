"""A model server on loopback that speaks the KServe v2 REST protocol as OpenVINO Model Server (OVMS) does.

    with serving("export/model.xml") as address:      # "127.0.0.1:PORT"
        …                                             # http://ADDRESS/v2/models/instance_segmentation

Metadata (with `rt_info`, which OVMS adds), liveness, readiness and inference, as JSON and with the binary tensor extension.
"""

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from instance_segmentation.ir.info import entries_of, read_graph
from instance_segmentation.ir.session import compile_ir

NAME = "instance_segmentation"
TYPES = {"f32": "FP32", "f16": "FP16", "i64": "INT64", "i32": "INT32", "u8": "UINT8"}
DTYPES = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8}
LENGTH = "Inference-Header-Content-Length"  # of the JSON in front of the binary tensors


class Served:
    """A model and its answers.

    Args:
        path: An .xml of any contract.
        name: What clients call it.
    """

    def __init__(self, path, name=NAME):
        model = read_graph(path)
        self.name, self.compiled, self.entries = name, compile_ir(model), entries_of(model)
        self.inputs, self.outputs = ([self._port(node) for node in nodes] for nodes in (model.inputs, model.outputs))

    def _port(self, node):
        shape = [side.get_length() if side.is_static else -1 for side in node.get_partial_shape()]
        return dict(name=node.any_name, shape=shape, datatype=TYPES[node.get_element_type().get_type_name()])

    def metadata(self):
        """The answer to GET …/models/NAME."""
        return dict(name=self.name, versions=["1"], platform="OpenVINO", inputs=self.inputs, outputs=self.outputs,
                    rt_info=dict(model_info=self.entries))

    def infer(self, header, binary):
        """The answer to POST …/infer.

        Args:
            header: The request's JSON.
            binary: The bytes behind it.

        Returns:
            The answer's JSON and the bytes behind that.

        Raises:
            ValueError: The request does not fit the model; the message goes to the client with status 400.
        """
        results = self.compiled(self._tensors(header, binary))
        wanted = header.get("outputs") or [dict(name=port["name"]) for port in self.outputs]
        all_binary = header.get("parameters", {}).get("binary_data_output", False)
        answers, tail = [], b""
        for item in wanted:
            array = np.ascontiguousarray(results[item["name"]])
            answer = dict(name=item["name"], shape=list(array.shape), datatype=self._type_of(item["name"]))
            if item.get("parameters", {}).get("binary_data", all_binary):
                answer["parameters"] = dict(binary_data_size=array.nbytes)
                tail += array.tobytes()
            else:
                answer["data"] = array.ravel().tolist()
            answers.append(answer)
        return dict(model_name=self.name, model_version="1", outputs=answers), tail

    def _type_of(self, name):
        return next(port["datatype"] for port in self.outputs if port["name"] == name)

    def _tensors(self, header, binary):
        """Input name → array, checked as OVMS checks it."""
        tensors, at = {}, 0
        for item in header["inputs"]:
            port = next((port for port in self.inputs if port["name"] == item["name"]), None)
            if port is None:
                raise ValueError(f"Unexpected input tensor: {item['name']}")
            if item["datatype"] != port["datatype"]:
                raise ValueError(f"Invalid input precision - Expected: {port['datatype']}; Actual: {item['datatype']}")
            if len(item["shape"]) != len(port["shape"]) or any(
                    own not in (-1, side) for own, side in zip(port["shape"], item["shape"], strict=True)):
                raise ValueError(f"Invalid input shape - Expected: {port['shape']}; Actual: {item['shape']}")
            dtype, size = DTYPES[item["datatype"]], item.get("parameters", {}).get("binary_data_size")
            values = np.array(item["data"], dtype) if size is None else np.frombuffer(binary[at:at + size], dtype)
            at += size or 0
            tensors[item["name"]] = values.reshape(item["shape"])
        if missing := {port["name"] for port in self.inputs} - set(tensors):
            raise ValueError(f"Missing input tensors: {', '.join(sorted(missing))}")
        return tensors


class Handler(BaseHTTPRequestHandler):
    """The protocol's paths; `server.model` is a Served."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        model = self.server.model
        if self.path in ("/v2/health/live", "/v2/health/ready"):
            self.answer({})
        elif (rest := self.rest()) in ("", "/ready"):
            self.answer({} if rest else model.metadata())
        else:
            self.answer(dict(error="Model with requested name is not found"), status=404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        end = int(self.headers.get(LENGTH, len(body)))
        if self.rest() != "/infer":
            self.answer(dict(error="Model with requested name is not found"), status=404)
            return
        try:
            self.answer(*self.server.model.infer(json.loads(body[:end]), body[end:]))
        except (ValueError, KeyError) as error:
            self.answer(dict(error=str(error)), status=400)

    def rest(self):
        """What follows the model's name and version in the path; None for another model."""
        match = re.fullmatch(rf"/v2/models/{re.escape(self.server.model.name)}(?:/versions/1)?(/\w+)?", self.path)
        return match and (match[1] or "")

    def answer(self, content, tail=b"", status=200):
        """Send JSON, with binary tensors behind it if there are any."""
        head = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if tail else "application/json")
        self.send_header("Content-Length", str(len(head) + len(tail)))
        if tail:
            self.send_header(LENGTH, str(len(head)))
        self.end_headers()
        self.wfile.write(head + tail)

    def log_message(self, *args):
        """Keep the test's output clean."""


@contextlib.contextmanager
def serving(path, name=NAME):
    """Serve a model on a free port of 127.0.0.1; yields `127.0.0.1:PORT`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.model = True, Served(path, name)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
