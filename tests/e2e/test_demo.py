"""`instseg demo` with a checkpoint, its IR, and the IR on a server: the same objects."""

import json

import numpy as np
import pytest

from instance_segmentation.cli import demo, export

pytestmark = pytest.mark.e2e


def objects(model, images, folder, *options):
    """(label, score, box) of everything found in all images."""
    assert demo.main(["-m", str(model), "-i", str(images), "-t", "0.05", "--no_show", "--save-json", str(folder / "o.jsonl"),
                      *options]) == 0
    return [(item["label"], item["score"], item["box"]) for line in (folder / "o.jsonl").read_text().splitlines()
            for item in json.loads(line)["objects"]]


@pytest.fixture(scope="module")
def served(trained):
    """An export with a model server's repository."""
    folder = trained / "served"
    assert export.main(["--load-weights", str(trained / "outputs/latest.pth"), "--save-model-to", str(folder), "--ovms"],
                       trained) == 0
    return folder


@pytest.fixture(scope="module")
def of_checkpoint(trained, sample_data, tmp_path_factory):
    """What the checkpoint finds."""
    found = objects(trained / "outputs/latest.pth", sample_data / "val", tmp_path_factory.mktemp("pth"))
    assert len(found) > 20
    return found


def check_same(found, expected):
    """The same objects; a network of two epochs gives many boxes nearly one score, so NMS may keep another one here and there."""
    def same(one, other):
        return one[0] == other[0] and abs(one[1] - other[1]) < 1e-3 and np.abs(np.subtract(one[2], other[2])).max() < 1
    assert abs(len(found) - len(expected)) <= 0.05 * len(expected)
    assert sum(any(same(one, other) for other in found) for one in expected) >= 0.95 * len(expected)


def test_ir_finds_what_the_checkpoint_finds(served, of_checkpoint, sample_data, tmp_path):
    check_same(objects(served / "model.xml", sample_data / "val", tmp_path, "-nireq", "3"), of_checkpoint)


def test_server_finds_what_the_checkpoint_finds(served, of_checkpoint, sample_data, tmp_path):
    pytest.importorskip("tritonclient.http", reason="needs the extra [ovms]", exc_type=(ImportError, RuntimeError))
    from tests.component.kserve_server import serving
    with serving(served / "ovms/instance_segmentation/1/model.xml") as host:
        found = objects(f"{host}/models/instance_segmentation", sample_data / "val", tmp_path, "--adapter", "ovms")
    check_same(found, of_checkpoint)
