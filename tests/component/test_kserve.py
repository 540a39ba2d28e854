"""The exported model behind a model server: what arrives is what the model gives."""

import http.client
import json

import numpy as np
import pytest

from instance_segmentation.inference.exported import load_exported
from instance_segmentation.ir.export import write_ir
from tests.component.kserve_server import DTYPES, LENGTH, NAME, serving
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def xml(tmp_path_factory):
    return write_ir(speaking_network(("ripe fruit", "leaf"), (96, 128)), tmp_path_factory.mktemp("ir"), origin={}).path


@pytest.fixture(scope="module")
def address(xml):
    with serving(xml) as address:
        yield address


def ask(address, method, path, body=None, headers=None):
    """Status, JSON and the bytes behind it."""
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    end = int(answer.headers.get(LENGTH, len(content)))
    return answer.status, json.loads(content[:end]), content[end:]


def send(address, image, binary):
    """Outputs by name of an inference, asked for as JSON or with binary tensors."""
    tensor = dict(name="image", shape=image.shape, datatype="FP32")
    tensor |= dict(parameters=dict(binary_data_size=image.nbytes)) if binary else dict(data=image.ravel().tolist())
    head = json.dumps(dict(inputs=[tensor], parameters=dict(binary_data_output=binary))).encode()
    status, answer, tail = ask(address, "POST", f"/v2/models/{NAME}/versions/1/infer", head + image.tobytes() * binary,
                               {LENGTH: str(len(head))} if binary else {})
    assert status == 200, answer
    found = {}
    for item in answer["outputs"]:
        size, dtype = item.get("parameters", {}).get("binary_data_size", 0), DTYPES[item["datatype"]]
        values, tail = (np.frombuffer(tail[:size], dtype), tail[size:]) if binary else (np.array(item["data"], dtype), tail)
        found[item["name"]] = values.reshape(item["shape"])
    return found


def test_metadata_and_readiness(address):
    assert ask(address, "GET", "/v2/health/ready")[0] == ask(address, "GET", f"/v2/models/{NAME}/ready")[0] == 200
    status, metadata, _ = ask(address, "GET", f"/v2/models/{NAME}")
    assert status == 200 and metadata["inputs"] == [dict(name="image", shape=[1, 3, 96, 128], datatype="FP32")]
    assert [(item["name"], item["shape"][0], item["datatype"]) for item in metadata["outputs"]] == [
        ("boxes", -1, "FP32"), ("labels", -1, "INT64"), ("masks", -1, "FP32")]
    assert metadata["rt_info"]["model_info"]["labels"] == "otx_empty_lbl ripe_fruit leaf"


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary tensors"])
def test_the_same_detections(address, xml, binary):
    detector, photo = load_exported(xml), photo_like((200, 150), 3)
    tensor, placement = detector.prepare(photo)
    found = detector.read(send(address, tensor.astype(np.float32), binary), placement, photo.shape[:2])
    expected = detector(photo)
    assert len(expected) > 3 and found.rles == expected.rles and found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("change, message", [
    (dict(name="data"), "Unexpected input tensor: data"),
    (dict(shape=[1, 96, 128, 3]), "Invalid input shape - Expected: [1, 3, 96, 128]"),
    (dict(datatype="UINT8"), "Invalid input precision - Expected: FP32; Actual: UINT8"),
], ids=["name", "shape", "type"])
def test_wrong_requests_are_answered_with_400(address, change, message):
    tensor = dict(name="image", shape=[1, 3, 96, 128], datatype="FP32", data=[0] * 36864) | change
    status, answer, _ = ask(address, "POST", f"/v2/models/{NAME}/infer", json.dumps(dict(inputs=[tensor])))
    assert status == 400 and message in answer["error"]


def test_another_model_is_not_found(address):
    assert ask(address, "GET", "/v2/models/other")[0] == ask(address, "POST", "/v2/models/other/infer", "{}")[0] == 404
