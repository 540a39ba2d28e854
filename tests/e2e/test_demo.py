"""`instseg demo` with a checkpoint, its IR, and the IR on a server: the same objects."""

import json

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
    """The same objects, up to what a runtime changes."""
    assert sorted(item[0] for item in found) == sorted(item[0] for item in expected)
    for (_, score, box), (_, expected_score, expected_box) in zip(found, expected, strict=True):
        assert score == pytest.approx(expected_score, abs=1e-3) and box == pytest.approx(expected_box, abs=1)


def test_ir_finds_what_the_checkpoint_finds(served, of_checkpoint, sample_data, tmp_path):
    check_same(objects(served / "model.xml", sample_data / "val", tmp_path, "-nireq", "3"), of_checkpoint)


def test_server_finds_what_the_checkpoint_finds(served, of_checkpoint, sample_data, tmp_path):
    pytest.importorskip("tritonclient.http", reason="needs the extra [ovms]", exc_type=(ImportError, RuntimeError))
    from tests.component.kserve_server import serving
    with serving(served / "ovms/instance_segmentation/1/model.xml") as host:
        found = objects(f"{host}/models/instance_segmentation", sample_data / "val", tmp_path, "--adapter", "ovms")
    check_same(found, of_checkpoint)
