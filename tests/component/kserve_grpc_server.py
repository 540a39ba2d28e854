"""The gRPC half of `kserve_server`: KServe v2 on loopback, with the service definition of the client library.

    with serving_grpc("export/model.xml") as address:      # "127.0.0.1:PORT"
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.component.kserve_server import NAME, Served


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Metadata (without rt_info, as OVMS answers over gRPC) and inference of a Served."""

    def __init__(self, model):
        self.model = model

    def check(self, name, version, context):
        if name != self.model.name or version not in ("", "1"):
            context.abort(grpc.StatusCode.NOT_FOUND, "Model with requested name is not found")

    def ModelMetadata(self, request, context):
        self.check(request.name, request.version, context)
        metadata = self.model.metadata()
        del metadata["rt_info"]
        return service_pb2.ModelMetadataResponse(**metadata)

    def ModelInfer(self, request, context):
        self.check(request.model_name, request.model_version, context)
        inputs = [dict(name=item.name, shape=list(item.shape), datatype=item.datatype, parameters=dict(binary_data_size=len(raw)))
                  for item, raw in zip(request.inputs, request.raw_input_contents, strict=True)]
        header = dict(inputs=inputs, parameters=dict(binary_data_output=True))
        try:
            answer, tail = self.model.infer(header, b"".join(request.raw_input_contents))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = service_pb2.ModelInferResponse(model_name=self.model.name, model_version="1")
        for item in answer["outputs"]:
            size = item.pop("parameters")["binary_data_size"]
            response.outputs.add(**item)
            response.raw_output_contents.append(tail[:size])
            tail = tail[size:]
        return response


@contextlib.contextmanager
def serving_grpc(path, name=NAME):
    """Serve a model on a free port of 127.0.0.1; yields `127.0.0.1:PORT`."""
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(Served(path, name)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
