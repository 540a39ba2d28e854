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


def test_checkpoint_ir_and_server_find_the_same(trained, served, sample_data, tmp_path):
    pytest.importorskip("tritonclient.http", reason="needs the extra [ovms]", exc_type=(ImportError, RuntimeError))
    from tests.unit.kserve_server import serving
    found = [objects(trained / "outputs/latest.pth", sample_data / "val", tmp_path),
             objects(served / "model.xml", sample_data / "val", tmp_path, "-nireq", "3")]
    with serving(served / "ovms/instance_segmentation/1/model.xml") as host:
        found.append(objects(f"{host}/models/instance_segmentation", sample_data / "val", tmp_path, "--adapter", "ovms"))
    assert len(found[0]) > 20
    for others in found[1:]:
        assert sorted(item[0] for item in others) == sorted(item[0] for item in found[0])
        for (_, score, box), (_, score_of_pth, box_of_pth) in zip(others, found[0], strict=True):
            assert score == pytest.approx(score_of_pth, abs=1e-3) and box == pytest.approx(box_of_pth, abs=1)
