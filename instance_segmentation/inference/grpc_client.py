"""KServe v2 over gRPC, within a bound of time and memory; the extra [ovms]. Needs no torch."""

from contextlib import contextmanager

from instance_segmentation.errors import MissingExtraError
from instance_segmentation.inference.answers import ServerError
from instance_segmentation.inference.rest import BYTES


class GrpcClient:
    """A model on a server; arguments, methods and errors are those of `rest.RestClient`.

    Raises:
        MissingExtraError: The client library is not installed.
    """

    def __init__(self, host, name, version, timeout_s):
        try:
            from tritonclient import grpc
        except (ImportError, RuntimeError) as error:  # RuntimeError: the library without this part
            raise MissingExtraError("ovms", "--adapter ovms over gRPC") from error
        self.grpc, self.model, self.limit = grpc, (name, version), dict(client_timeout=timeout_s)
        self.client = grpc.InferenceServerClient(host, channel_args=[("grpc.max_receive_message_length", BYTES),
                                                                     ("grpc.max_send_message_length", BYTES)])

    def metadata(self):
        """What the server says about the model."""
        with _as_errors_of_sockets():
            return self.client.get_model_metadata(*self.model, as_json=True, **self.limit)

    def infer(self, tensors):
        """Infer; see `rest.RestClient`."""
        name, version = self.model
        with _as_errors_of_sockets():
            answer = self.client.infer(name, [self._input(*item) for item in tensors.items()], version, **self.limit)
        response = answer.get_response()
        raw = list(response.raw_output_contents)
        outputs = [dict(name=output.name, datatype=output.datatype, shape=list(output.shape), **_values(output, raw, place))
                   for place, output in enumerate(response.outputs)]
        return dict(outputs=outputs), memoryview(b"".join(raw))

    def _input(self, name, tensor):
        array, datatype = tensor
        result = self.grpc.InferInput(name, array.shape, datatype)
        result.set_data_from_numpy(array)
        return result


def _values(output, raw, place):
    """Where an output's values are: behind the answer as bytes, or in it as numbers."""
    if place < len(raw):
        return dict(parameters=dict(binary_data_size=len(raw[place])))
    return dict(data=[number for _, values in output.contents.ListFields() for number in values])


@contextmanager
def _as_errors_of_sockets():
    """Raise for the client library's error what REST raises for the same."""
    from tritonclient.utils import InferenceServerException
    try:
        yield
    except InferenceServerException as error:
        status, text = str(error.status()), error.message()
        if "DEADLINE_EXCEEDED" in status:
            raise TimeoutError(text) from error
        if "UNAVAILABLE" in status:
            raise ConnectionError(text) from error
        raise ServerError(f"refuses: {text[:500]}") from error
