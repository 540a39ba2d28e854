"""The demo with a model on a server: what it finds, and what it says when something is wrong."""

import json
import socket
import threading

import cv2
import numpy as np
import pytest

from instance_segmentation.cli.demo import main
from instance_segmentation.inference import served
from tests.component.kserve_server import serving
from tests.unit import tiny_models

http = pytest.importorskip("tritonclient.http", reason="needs the extra [ovms]", exc_type=(ImportError, RuntimeError))


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "white.png"
    cv2.imwrite(str(path), np.full((128, 192, 3), 255, np.uint8))
    return str(path)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    xml = tiny_models.mask_rcnn(tmp_path_factory.mktemp("model") / "m.xml", rt_info=dict(labels="otx_empty_lbl cat dog"))
    with serving(xml) as host:
        yield f"{host}/models/instance_segmentation"


def run(model, photo, *options):
    return main(["-m", model, "--adapter", "ovms", "-i", photo, "--no_show", *options])


@pytest.mark.parametrize("version", ["", ":1"])
def test_served_model_finds_what_the_file_finds(address, photo, tmp_path, version):
    assert run(address + version, photo, "--save-json", str(tmp_path / "o.jsonl")) == 0
    (item,) = json.loads((tmp_path / "o.jsonl").read_text())["objects"]
    assert (item["label"], item["box"]) == ("dog", [48, 32, 144, 96]) and item["score"] == pytest.approx(0.9)


def test_two_inputs_and_names_from_a_file(photo, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\n")
    with serving(tiny_models.segmentoly(tmp_path / "m.xml"), "old") as host:
        assert run(f"{host}/models/old", photo, "--labels", str(tmp_path / "labels.txt"), "--save-json", str(tmp_path / "o")) == 0
    (item,) = json.loads((tmp_path / "o").read_text())["objects"]
    assert (item["label"], item["box"]) == ("dog", [48, 32, 144, 96])


def test_layout_mean_and_scale(photo, tmp_path):
    xml = tiny_models.mask_rcnn(tmp_path / "m.xml", shape=(1, 64, 96, 3), rt_info=dict(
        labels="otx_empty_lbl cat dog", mean_values="55 55 55", scale_values="2 2 2"))
    with serving(xml) as host:
        assert run(f"{host}/models/instance_segmentation", photo, "-t", "0.1", "--save-json", str(tmp_path / "o")) == 0
    (item,) = json.loads((tmp_path / "o").read_text())["objects"]
    assert item["score"] == pytest.approx(0.9 * 100 / 255, rel=1e-4)


@pytest.mark.parametrize("name", ["other", "instance_segmentation:7"])
def test_wrong_model_or_version(address, photo, capsys, name):
    assert run(f"{address.rpartition('/')[0]}/{name}", photo) == 1
    assert f"models/{name}: the server refuses: Model with requested name is not found" in capsys.readouterr().err


def test_dead_server(photo, capsys):
    with socket.create_server(("127.0.0.1", 0)) as idle:
        port = idle.getsockname()[1]
    assert run(f"127.0.0.1:{port}/models/a", photo) == 1
    assert f"demo: 127.0.0.1:{port}/models/a: cannot be reached" in capsys.readouterr().err


def test_silent_server(photo, capsys, monkeypatch):
    monkeypatch.setattr(served, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run(f"127.0.0.1:{silent.getsockname()[1]}/models/a", photo) == 1
    assert "no answer within 0 s" in capsys.readouterr().err


def test_port_that_speaks_neither(photo, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        def answer():
            for _ in range(2):  # to HTTP, and then to gRPC
                connection, _ = other.accept()
                connection.recv(4096)
                connection.sendall(b"220 mail.example SMTP\r\n")
                connection.close()
            other.close()
        threading.Thread(target=answer, daemon=True).start()
        assert run(f"127.0.0.1:{other.getsockname()[1]}/models/a", photo) == 1
    err = capsys.readouterr().err
    assert "cannot be reached" in err and "is this its port" in err


@pytest.fixture(scope="module")
def grpc_address(tmp_path_factory):
    pytest.importorskip("tritonclient.grpc", reason="needs the extra [ovms]", exc_type=(ImportError, RuntimeError))
    from tests.component.kserve_grpc_server import serving_grpc
    with serving_grpc(tiny_models.mask_rcnn(tmp_path_factory.mktemp("model") / "m.xml")) as host:
        yield f"{host}/models/instance_segmentation"


@pytest.mark.parametrize(("scheme", "version"), [("", ""), ("grpc://", ":1")])
def test_grpc(grpc_address, photo, tmp_path, scheme, version):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert run(scheme + grpc_address + version, photo, "--labels", str(tmp_path / "labels.txt"), "--save-json",
               str(tmp_path / "o.jsonl")) == 0
    (item,) = json.loads((tmp_path / "o.jsonl").read_text())["objects"]
    assert (item["label"], item["box"]) == ("dog", [48, 32, 144, 96]) and item["score"] == pytest.approx(0.9)


def test_grpc_mistakes(grpc_address, photo, capsys, monkeypatch):
    assert run(f"{grpc_address}:7", photo) == 1
    assert "the server refuses: Model with requested name is not found" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as idle:
        port = idle.getsockname()[1]
    assert run(f"grpc://127.0.0.1:{port}/models/a", photo) == 1
    assert "cannot be reached" in capsys.readouterr().err
    monkeypatch.setattr(served, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run(f"grpc://127.0.0.1:{silent.getsockname()[1]}/models/a", photo) == 1
    assert "no answer within 0 s" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["model.xml", "localhost/models/a", "localhost:9000/a", "localhost:9000/models/a b"])
def test_no_address(model, photo, capsys):
    assert run(model, photo) == 1
    assert f"demo: {model}: expected HOST:PORT/models/NAME" in capsys.readouterr().err


def test_repository_for_the_server(tmp_path):
    from instance_segmentation.deployment.exporting import write_repository
    xml = tiny_models.mask_rcnn(tmp_path / "model.xml")
    assert write_repository(xml, "fruit") == tmp_path / "ovms"
    assert (tmp_path / "ovms/fruit/1/model.xml").read_bytes() == xml.read_bytes()
    assert (tmp_path / "ovms/fruit/1/model.bin").read_bytes() == xml.with_suffix(".bin").read_bytes()


def test_repository_for_model_api_takes_photos_as_they_are(tmp_path):
    from instance_segmentation.deployment.exporting import write_repository
    from instance_segmentation.ir.info import entries_of, read_graph
    from instance_segmentation.ir.session import compile_ir
    write_repository(tiny_models.mask_rcnn(tmp_path / "model.xml", rt_info=dict(labels="otx_empty_lbl cat dog")), "fruit")
    model = read_graph(tmp_path / "ovms_mapi/fruit/1/model.xml")
    entries = entries_of(model)
    assert (entries["labels"], entries["orig_height"], entries["orig_width"]) == ("otx_empty_lbl cat dog", "64", "96")
    half_white = np.zeros((1, 120, 200, 3), np.uint8)
    half_white[:, :60] = 255
    found = compile_ir(model)(half_white)
    np.testing.assert_allclose(found["boxes"], [[24, 16, 72, 48, 0.45]], atol=0.01)  # half the brightness, half the score


def test_name_that_not_every_client_accepts(capsys):
    from instance_segmentation.cli.export import parser
    required = ["work", "--load-weights", "a.pth", "--save-model-to", "export"]
    assert parser().parse_args([*required, "--ovms"]).ovms == "instance_segmentation"
    assert parser().parse_args([*required, "--ovms", "fruit_2"]).ovms == "fruit_2"
    with pytest.raises(SystemExit):
        parser().parse_args([*required, "--ovms", "b2b-mask_rcnn"])
    assert "'b2b_mask_rcnn'" in capsys.readouterr().err
