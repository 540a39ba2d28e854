"""KServe v2 over REST, within a bound of time and memory whatever the server sends. Needs Python's library only."""

import io
import json
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from instance_segmentation.inference.answers import ServerError, decoded, header_length

LENGTH = "Inference-Header-Content-Length"  # of the JSON in front of the binary tensors
JSON_BYTES, BYTES = 16 << 20, 256 << 20  # largest answer without and with binary tensors


class RestClient:
    """A model on a server.

    Args:
        host: `NAME:PORT`.
        name, version: Of the model; the newest version when empty.
        timeout_s: Longest time of a question with its answer, in seconds.

    All methods raise OSError or HTTPException when the server cannot be reached, is too slow or breaks off, and ServerError for
    an answer that is none.
    """

    def __init__(self, host, name, version, timeout_s):
        self.path = f"/v2/models/{quote(name)}" + (f"/versions/{version}" if version else "")
        self.timeout_s, self.connection = timeout_s, _Connection(host, timeout=timeout_s)

    def __del__(self):
        self.connection.close()

    def metadata(self):
        """What the server says about the model."""
        return decoded(self._ask("GET", self.path)[1])

    def infer(self, tensors):
        """Infer.

        Args:
            tensors: Input name → (array, KServe's name of its type).

        Returns:
            The answer's JSON, and the bytes of the tensors behind it.
        """
        inputs = [dict(name=name, shape=array.shape, datatype=datatype, parameters=dict(binary_data_size=array.nbytes))
                  for name, (array, datatype) in tensors.items()]
        head = json.dumps(dict(inputs=inputs, parameters=dict(binary_data_output=True))).encode()
        body = b"".join([head, *(array.tobytes() for array, _ in tensors.values())])
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
        length, content = self._ask("POST", f"{self.path}/infer", body, headers)
        end = header_length(length, len(content), JSON_BYTES)
        return decoded(content[:end]), memoryview(content)[end:]

    def _ask(self, method, path, body=None, headers=None):
        """Value of LENGTH and content of an answer."""
        self.connection.deadline = time.monotonic() + self.timeout_s
        reused = self.connection.sock is not None
        try:
            response = self._send(method, path, body, headers)
        except (HTTPException, ConnectionError):
            if not reused:
                raise
            response = self._send(method, path, body, headers)  # the server had closed what it kept open
        try:
            length = response.headers.get(LENGTH)
            content = _content(response, BYTES if length else JSON_BYTES)
        except BaseException:
            self.connection.close()
            raise
        if response.status != 200:
            raise ServerError(_refusal(response.status, content))
        return length, content

    def _send(self, method, path, body, headers):
        try:
            self.connection.request(method, path, body, headers or {})
            return self.connection.getresponse()
        except BaseException:
            self.connection.close()  # half an exchange is of no use to the next one
            raise


def _content(response, most):
    """An answer's bytes, `most` of them at most."""
    content = bytearray()
    while part := response.read(min(1 << 20, most + 1 - len(content))):
        content += part
        if len(content) > most:
            raise ServerError(f"sends more than {most >> 20} MiB")
    if response.length:
        raise HTTPException(f"the answer breaks off {response.length:,} bytes before its end")
    return bytes(content)


def _refusal(status, content):
    """What a server says about a question that it does not answer."""
    try:
        text = decoded(content)["error"]
    except (ServerError, KeyError, TypeError):
        return f"answers with HTTP status {status}"
    return f"refuses: {str(text)[:500]}"


class _Connection(HTTPConnection):
    """A connection whose sending and receiving end at `deadline`, however often something arrives."""

    deadline = 0.0

    def connect(self):
        """Connect within the time that is left."""
        self.timeout = _left(self.deadline)
        try:
            super().connect()
        except (UnicodeError, OverflowError) as error:
            raise OSError(f"no such host or port: {error}") from error
        self.sock = _Timed(self.sock, self)


class _Timed:
    """What http.client uses of a socket."""

    def __init__(self, sock, connection):
        self.sock, self.connection = sock, connection

    def sendall(self, data):
        """Send."""
        self.sock.settimeout(_left(self.connection.deadline))
        self.sock.sendall(data)

    def makefile(self, mode):
        """What arrives, as a file."""
        return io.BufferedReader(_Arriving(self.sock, self.connection), 1 << 16)

    def close(self):
        """Close."""
        self.sock.close()


class _Arriving(io.RawIOBase):
    def __init__(self, sock, connection):
        self.sock, self.connection = sock, connection

    def readable(self):
        return True

    def readinto(self, buffer):
        self.sock.settimeout(_left(self.connection.deadline))
        return self.sock.recv_into(buffer)


def _left(deadline):
    """Seconds until the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
