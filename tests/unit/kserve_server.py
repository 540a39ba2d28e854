"""A model server on loopback that speaks KServe v2 over REST and runs a real IR, as OpenVINO Model Server does.

github.com/kserve/open-inference-protocol, and its extension for binary tensors: a JSON header, whose length is in
`Inference-Header-Content-Length`, followed by the tensors' bytes.
"""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import openvino as ov

TYPES = {"f32": "FP32", "i64": "INT64", "i32": "INT32", "u8": "UINT8"}
DTYPES = dict(FP32=np.float32, INT64=np.int64, INT32=np.int32, UINT8=np.uint8)


@contextmanager
def serving(xml, name="instance_segmentation", rt_info=True):
    """Serve a model; yields HOST:PORT."""
    model = ov.Core().read_model(xml)
    handler = type("Handler", (Handler,), dict(model=model, compiled=ov.compile_model(model, "CPU"), name=name, told=rt_info))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(*((200, self.metadata()) if self.known() else (404, dict(error="Model with requested name is not found"))))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.known():
            return self.reply(404, dict(error="Model with requested name is not found"))
        length = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        found = self.compiled(read_tensors(json.loads(body[:length]), body[length:]))
        arrays = {output.any_name: found[output] for output in self.compiled.outputs}
        header = json.dumps(dict(model_name=self.name, outputs=[
            dict(name=key, datatype=tensor_type(array), shape=array.shape, parameters=dict(binary_data_size=array.nbytes))
            for key, array in arrays.items()])).encode()
        return self.reply(200, header + b"".join(array.tobytes() for array in arrays.values()),
                          {"Inference-Header-Content-Length": str(len(header))})

    def known(self):
        return re.fullmatch(rf"/v2/models/{self.name}(/versions/1)?(/infer)?", self.path)

    def metadata(self):
        ports = {key: [dict(name=port.any_name, datatype=TYPES[port.element_type.get_type_name()],
                            shape=[side.get_length() if side.is_static else -1 for side in port.get_partial_shape()])
                       for port in getattr(self.model, key)] for key in ("inputs", "outputs")}
        info = self.model.get_rt_info(["model_info"]).value if self.told else {}
        return dict(name=self.name, versions=["1"], platform="OpenVINO", rt_info=dict(model_info=info), **ports)

    def reply(self, status, body, headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def read_tensors(request, raw):
    tensors = {}
    for item in request["inputs"]:
        dtype, size = DTYPES[item["datatype"]], item.get("parameters", {}).get("binary_data_size")
        data = np.frombuffer(raw[:size], dtype) if size is not None else np.array(item["data"], dtype)
        raw = raw[size or 0:]
        tensors[item["name"]] = data.reshape(item["shape"])
    return tensors


def tensor_type(array):
    return next(name for name, dtype in DTYPES.items() if array.dtype == dtype)
