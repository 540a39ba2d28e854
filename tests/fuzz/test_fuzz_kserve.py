"""A model server that lies: hostile metadata, inferences, binary tensors, trickles and floods, over a socket on loopback.

Valid answers are mutated (values, structure, bytes, HTTP itself); whatever comes is drawn and written as JSON, as the
demo does it.
"""

import copy
import json
import math
import random
import socket
import threading
import time

import numpy as np
import pytest

from instance_segmentation.errors import InstSegError
from instance_segmentation.inference import rest, served
from instance_segmentation.inference.drawing import draw
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.outputs import JsonLines
from tests.fuzz.harness import run

COUNT = 2000
IMAGE = np.full((48, 64, 3), 200, np.uint8)
MODELS = [  # inputs and outputs by name and shape, and the sides of an answer with two objects
    (
        dict(image=[1, 3, 32, 48]),
        dict(boxes=[-1, 5], labels=[-1], masks=[-1, 7, 7]),
        dict(boxes=[2, 5], labels=[2], masks=[2, 7, 7]),
    ),
    (
        dict(image=[1, 32, 48, 3]),
        dict(boxes=[1, -1, 5], labels=[1, -1], masks=[1, -1, 7, 7]),
        dict(boxes=[1, 2, 5], labels=[1, 2], masks=[1, 2, 7, 7]),
    ),
    (
        dict(im_data=[1, 3, 32, 48], im_info=[1, 3]),
        dict(boxes=[-1, 4], scores=[-1], classes=[-1], raw_masks=[-1, 3, 7, 7]),
        dict(boxes=[2, 4], scores=[2], classes=[2], raw_masks=[2, 3, 7, 7]),
    ),
    (
        dict(input=[1, 3, 32, 48]),
        dict(boxes=[1, 6, 4], conf=[1, 6, 3], mask=[1, 6, 2], proto=[1, 8, 12, 2]),
        dict(boxes=[1, 6, 4], conf=[1, 6, 3], mask=[1, 6, 2], proto=[1, 8, 12, 2]),
    ),
]
ODD = [
    None,
    True,
    0,
    -1,
    -2,
    1,
    3,
    1.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    1 << 31,
    1 << 63,
    1 << 70,
    10**30,
    "",
    "FP32",
    "3",
    "nan",
    "\x1b[31m",
    "\ud83d",
    "a" * 3000,
    [],
    {},
    [[]],
    [None],
    {"a": []},
    [1, "2"],
    [[1, 2], [3]],
    "INT64",
    "BYTES",
    "UINT8",
]


class Liar:
    """A server on a free port of 127.0.0.1 that answers each request with what `answers` yields: bytes, or seconds to wait."""

    def __init__(self):
        self.answers, self.listener = [], socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}/models/a"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.speak, args=(connection, self.answers), daemon=True).start()

    def speak(self, connection, answers):
        with connection, connection.makefile("rb") as file:
            try:
                connection.settimeout(5)
                while answers and self.listen(file):
                    for part in answers.pop(0):
                        if isinstance(part, bytes):
                            connection.sendall(part)
                        else:
                            time.sleep(part)
            except (OSError, ValueError):
                return  # the client had enough

    @staticmethod
    def listen(file):
        length, line = 0, None
        while line != b"\r\n":
            line = file.readline()
            if not line:
                return False
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        file.read(length)
        return True


LIAR = []


def ask(answers, folder, options, timeout_s=0.5):
    """Load the model that these answers describe, and use it as the demo does."""
    served.TIMEOUT_S = timeout_s
    if not LIAR:
        LIAR.append(Liar())
    LIAR[0].answers = list(answers)
    detector = served.load_served(f"http://{LIAR[0].address}", options)
    for _ in range(2):  # a second time, for what is left over from the first
        found = detector(IMAGE)
        assert draw(IMAGE, found).shape == IMAGE.shape
        with JsonLines(folder / "o.jsonl") as lines:
            lines.write(0, "a.jpg", found)
        json.loads((folder / "o.jsonl").read_text(), parse_constant=pytest.fail)


def http(body, headers=(), status="200 OK"):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{key}: {value}" for key, value in headers)]
    return [("\r\n".join(head) + "\r\n\r\n").encode() + body]


def metadata_of(model):
    def ports(shapes):
        return [
            dict(name=name, shape=shape, datatype="INT64" if name in ("labels", "classes") else "FP32")
            for name, shape in shapes.items()
        ]

    return dict(
        name="a",
        versions=["1"],
        platform="OpenVINO",
        inputs=ports(model[0]),
        outputs=ports(model[1]),
        rt_info=dict(model_info=dict(labels="otx_empty_lbl cat dog", confidence_threshold="0.3")),
    )


def tensors_of(model, rng):
    arrays = {}
    for name, shape in model[2].items():
        values = np.array([rng.random() for _ in range(math.prod(shape))]).reshape(shape)
        if name == "boxes" and "conf" not in model[1]:  # YOLACT's are shares of the image
            values[..., 2:4] += 0.5
            values[..., :4] *= 30
        arrays[name] = (values * 2).astype(np.int64) if name in ("labels", "classes") else values.astype(np.float32)
    return arrays


def answer_of(arrays, binary):
    outputs, tail = [], b""
    for name, array in arrays.items():
        item = dict(name=name, shape=list(array.shape), datatype="INT64" if array.dtype == np.int64 else "FP32")
        outputs.append(
            item | (dict(parameters=dict(binary_data_size=array.nbytes)) if binary else dict(data=array.ravel().tolist()))
        )
        tail += array.tobytes() * binary
    return dict(model_name="a", model_version="1", outputs=outputs), tail


def places(value, path=()):
    """Every place of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, rng):
    """A JSON value with one to three changes."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(places(value)))
        if not path:
            if rng.random() < 0.1:
                return copy.deepcopy(rng.choice(ODD))
            continue
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        kind = rng.random()
        if kind < 0.6:
            owner[path[-1]] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.8:
            del owner[path[-1]]
        elif isinstance(owner, list):
            owner.insert(path[-1], copy.deepcopy(owner[path[-1]]))
        else:
            owner[str(rng.choice(ODD))[:40]] = owner.pop(path[-1])
    return value


def as_bytes(value, rng):
    body = json.dumps(value).encode()
    kind = rng.random()
    if kind < 0.05:
        body = body[: rng.randrange(len(body) + 1)]
    elif kind < 0.1:
        body = bytearray(body)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        body = bytes(body)
    elif kind < 0.13:
        body = rng.choice((b"", b"<html>hello</html>", b"[" * 100_000, b"\xff\xfe{\0}\0", b"1" * 5000, b"null", b"\0" * 50))
    return body


def spoken(body, rng, headers=()):
    """An answer in HTTP, now and then in a dialect of it."""
    kind = rng.random()
    if kind < 0.8:
        return http(body, headers)
    if kind < 0.86:
        return http(body, headers, rng.choice(("404 Not Found", "500 x", "204 No Content", "301 Moved", "999 ?", "0 0", "200")))
    if kind < 0.9:
        odd = (
            ("Content-Encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("A", "b" * 70_000),
            ("Content-Length", "-1"),
            ("Content-Length", "99999999999999999999"),
        )
        return http(body, [*headers, rng.choice(odd)])
    if kind < 0.95:
        size = rng.choice((f"{len(body):x}", "-1", "zz", "ffffffffffffffffffff", "0", ""))
        return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"]
    whole = http(body, headers)[0]
    return [
        rng.choice(
            (
                b"",
                b"220 mail.example SMTP\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
                b"\r\n" * 50,
                whole[1:],
                whole * 2,
                whole[: rng.randrange(len(whole))],
                b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
            )
        )
    ]


def options_of(rng):
    return LoadOptions(
        threshold=rng.choice((None, None, 0.0, 0.5)),
        labels=rng.choice((None, None, ("cat", "dog"))),
        layout=rng.choice((None, None, None, "[NCHW]", "[NHWC]")),
        mean=rng.choice(((), (), (1.0, 2.0, 3.0))),
    )


def case_metadata(seed, folder):
    rng = random.Random(seed)
    model = rng.choice(MODELS)
    head, tail = answer_of(tensors_of(model, rng), True)
    inference = http(json.dumps(head).encode() + tail, [(rest.LENGTH, len(json.dumps(head)))])
    body = as_bytes(changed(metadata_of(model), rng), rng)
    ask([spoken(body, rng), inference, inference], folder, options_of(rng))


def case_inference(seed, folder):
    rng = random.Random(seed)
    model = rng.choice(MODELS)
    answers = [spoken(as_bytes(changed(answer_of(tensors_of(model, rng), False)[0], rng), rng), rng) for _ in range(2)]
    ask([http(json.dumps(metadata_of(model)).encode()), *answers], folder, options_of(rng))


def spoilt(arrays, rng):
    """Numbers that no model should give, in one of the outputs."""
    name = rng.choice(list(arrays))
    array = arrays[name].copy()
    odd = (
        [-1, -2, 3, 99, 1 << 40, -(1 << 62)]
        if array.dtype == np.int64
        else [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 0, -5, 1e9]
    )
    for _ in range(rng.randrange(1, 6)):
        array.flat[rng.randrange(array.size)] = rng.choice(odd)
    return arrays | {name: array}


def case_binary(seed, folder):
    rng = random.Random(seed)
    model, answers = rng.choice(MODELS), []
    for _ in range(2):
        arrays = tensors_of(model, rng)
        arrays = spoilt(arrays, rng) if rng.random() < 0.5 else arrays
        head, tail = answer_of(arrays, True)
        if rng.random() < 0.6:
            head = changed(head, rng)
        body = as_bytes(head, rng)
        length = rng.choice((len(body),) * 9 + (0, -1, len(body) - 1, len(body) + 9, 1 << 40, "x", "²", ""))
        tail = rng.choice((tail,) * 5 + (tail[:-1], tail + b"\0", b"", bytes(rng.randrange(256) for _ in range(len(tail)))))
        answers.append(spoken(body + tail, rng, [(rest.LENGTH, str(length).encode().decode("latin-1"))]))
    ask([http(json.dumps(metadata_of(model)).encode()), *answers], folder, options_of(rng))


def case_slow(seed, folder):
    """Every part of an answer may be the last, or come byte by byte; the time for all of it is bounded."""
    rng = random.Random(seed)
    model = rng.choice(MODELS)
    head, tail = answer_of(tensors_of(model, rng), True)
    whole = [
        http(json.dumps(metadata_of(model)).encode())[0],
        http(json.dumps(head).encode() + tail, [(rest.LENGTH, len(json.dumps(head)))])[0],
    ]
    place = rng.randrange(2)
    cut = rng.randrange(len(whole[place]))
    trickle = [step for byte in whole[place][cut : cut + 100] for step in (bytes([byte]), 0.01)]
    slow = [whole[place][:cut], *rng.choice((trickle, [1.0], [0.05, whole[place][cut:]], []))]
    answers = [slow if number == place else [answer] for number, answer in enumerate(whole)]
    began = time.monotonic()
    try:
        ask([*answers, answers[1]], folder, LoadOptions(threshold=0.3), timeout_s=0.15)
    finally:
        assert time.monotonic() - began < 4


def case_huge(seed, folder):
    """More than any answer needs: endless bodies and headers, lengths that are no length, numbers without end."""
    rng = random.Random(seed)
    rest.JSON_BYTES, rest.BYTES = 1 << 20, 4 << 20
    model, block = rng.choice(MODELS), rng.choice((b" ", b"[", b"1,", b"{},", b'"a",', b"\0")) * 50_000
    first = rng.choice(
        (b"", b"[", b'{"inputs": [', b'{"outputs": [{"name": "boxes", "datatype": "FP32", "shape": [9], "data": [')
    )
    length = rng.choice(
        (
            "",
            "Content-Length: 99999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            f"{rest.LENGTH}: 9\r\n",
            f"{rest.LENGTH}: 99999999\r\nContent-Length: 99999999\r\n",
        )
    )
    start = f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + (b"fffffff\r\n" if "chunked" in length else b"")
    flood = [start + first, *[block] * 400]
    if rng.random() < 0.2:
        flood = [b"HTTP/1.1 200 OK\r\n", *[b"a: " + b"b" * 60_000 + b"\r\n"] * 300]
    answers = [http(json.dumps(metadata_of(model)).encode()), flood]
    ask(answers[rng.randrange(2) :], folder, LoadOptions(threshold=0.3))


@pytest.mark.parametrize(
    "case", [case_metadata, case_inference, case_binary, case_slow, case_huge], ids=lambda case: case.__name__
)
def test_hostile_servers(case, tmp_path):
    run(case, COUNT, tmp_path).assert_clean()


def test_honest_servers_are_understood(tmp_path):
    """What is mutated above is accepted when it is not."""
    for number, model in enumerate(MODELS):
        arrays = tensors_of(model, random.Random(number))
        for binary in (True, False):
            head, tail = answer_of(arrays, binary)
            answer = http(json.dumps(head).encode() + tail, [(rest.LENGTH, len(json.dumps(head)))] * binary)
            ask([http(json.dumps(metadata_of(model)).encode()), answer, answer], tmp_path, LoadOptions(threshold=0.0), 30.0)
    with pytest.raises(InstSegError):
        ask([http(b"{}")], tmp_path, LoadOptions(), 30.0)
