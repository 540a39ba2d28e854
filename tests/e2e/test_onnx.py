"""export.py --onnx --input-size, eval.py on what it wrote, convert_to_onnx."""

import json

import pytest

from instance_segmentation.cli import convert_to_onnx
from instance_segmentation.cli import eval as eval_verb
from instance_segmentation.cli import export as export_verb

from .conftest import data_flags

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wide(trained, sample_data):
    """An export for another input size than the checkpoint's, not square."""
    folder = trained / "export wide"
    assert export_verb.main(["--load-weights", str(trained / "outputs/latest.pth"), "--save-model-to", str(folder), "--onnx",
                             "--input-size", "64", "160", *data_flags(sample_data, "test")], trained) == 0
    return folder


def test_onnx_and_ir_score_alike_at_their_own_input_size(trained, wide, sample_data):
    metrics = {}
    for name in ("model.onnx", "model.bin"):
        assert eval_verb.main(["--load-weights", str(wide / name), *data_flags(sample_data, "test"), "--num-workers", "0",
                               "--save-metrics-to", str(wide / f"{name}.yaml")], trained) == 0
        metrics[name] = json.loads((wide / f"{name}.json").read_text())["metrics"]
    onnx, ir = metrics.values()
    assert onnx["bbox/AR100"] > 0
    for key in ("segm/AP", "bbox/AP"):
        assert onnx[key] == pytest.approx(ir[key], abs=1e-3)


def test_convert_to_onnx_by_work_dir(trained, tmp_path, capsys):
    weights = ["--load-weights", str(trained / "outputs/latest.pth")]
    assert convert_to_onnx.main([str(trained), str(tmp_path / "a.onnx"), *weights, "--input-size", "64", "96"]) == 0
    assert "'image' [1, 3, 64, 96]" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "a.onnx").stat().st_size > 1e6


def test_input_size_that_is_no_multiple_of_32(trained, tmp_path, capsys):
    weights = ["--load-weights", str(trained / "outputs/latest.pth")]
    assert convert_to_onnx.main([str(trained), str(tmp_path / "a.onnx"), *weights, "--input-size", "100"]) == 1
    assert "--input-size: got 100 100, expected height and width that are multiples of 32" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
