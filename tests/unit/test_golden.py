"""Golden samples and `instseg check-ir --selftest`, on models whose detections are constants."""

import json
import shutil

import cv2
import numpy as np
import pytest

from instance_segmentation.cli import main
from instance_segmentation.ir.golden import FILES, IMAGES, rerun, write_golden
from tests.unit import tiny_models

BOXES = ((24, 16, 72, 48, 0.9), (8, 8, 40, 56, 0.6))
INFO = dict(model_type="MaskRCNN", labels="otx_empty_lbl cat dog")
INPUTS = [np.full((1, 3, 64, 96), value, np.float32) for value in (255, 128, 0)]


def network(path, boxes=BOXES, labels=(1, 0), **info):
    return tiny_models.mask_rcnn(path, boxes=boxes, labels=labels, rt_info=INFO | info)


@pytest.fixture
def golden(tmp_path):
    """model.xml with golden/ beside it."""
    path = network(tmp_path / "model.xml")
    write_golden(path, INPUTS)
    return path


def selftest(path, capsys):
    code = main.main(["check-ir", str(path), "--selftest"])
    return code, *capsys.readouterr()


def test_found_again(golden, capsys):
    assert all((golden.parent / name).is_file() for name in FILES)
    code, out, _ = selftest(golden, capsys)
    assert code == 0 and "6 detections found again: boxes ≤ 0 px (allowed 0.05)" in out


def test_what_is_written(golden):
    content = json.loads((golden.parent / "golden/detections.json").read_text())
    assert (content["classes"], content["input_size"], tuple(content["images"])) == (["cat", "dog"], [64, 96], IMAGES)
    assert [(item["label"], item["score"], item["box"]) for item in content["images"]["1.png"]] == [
        (1, 0.9, [24, 16, 72, 48]), (0, 0.6, [8, 8, 40, 56])]
    assert cv2.imread(str(golden.parent / "golden/2.png")).tolist() == np.full((64, 96, 3), 128).tolist()


@pytest.mark.parametrize("boxes, labels, message", [
    ([(24, 16, 72.5, 48, 0.9), BOXES[1]], (1, 0), "1.png: dog 0.900 at (24.0, 16.0, 72.0, 48.0) is off by 0.5 px"),
    ([(24, 16, 72, 48, 0.8), BOXES[1]], (1, 0), "its score by 0.1"),
    (BOXES, (0, 0), "1.png: dog 0.900 at (24.0, 16.0, 72.0, 48.0) is only expected"),
    ([*BOXES, (50, 5, 80, 30, 0.7)], (1, 0, 0), "1.png: cat 0.700 at (50.0, 5.0, 80.0, 30.0) is only found here"),
], ids=["box", "score", "label", "one more"])
def test_differences_are_named(golden, capsys, boxes, labels, message):
    network(golden, boxes, labels)  # the same file, another model
    code, _, err = selftest(golden, capsys)
    assert code == 1 and message in err and "does not find on CPU what it found when it was written" in err


def test_masks_are_compared(golden):
    record = golden.parent / "golden/detections.json"
    content = json.loads(record.read_text())
    for items in content["images"].values():
        items[0]["mask"] = items[1]["mask"]
    record.write_text(json.dumps(content))
    result = rerun(golden)
    assert result.box_px == 0 and result.mask_iou < 0.5 and len(result.differences) == 3


def test_rgb_models_see_the_same_picture(tmp_path):
    path = network(tmp_path / "model.xml", reverse_input_channels="True")
    write_golden(path, [np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1) * np.ones((1, 3, 64, 96), np.float32)])
    assert cv2.imread(str(tmp_path / "golden/1.png"))[0, 0].tolist() == [2, 1, 0]  # the file is BGR to OpenCV
    assert rerun(path).detections == 2


@pytest.mark.parametrize("spoil, message", [
    (shutil.rmtree, "detections.json: cannot be read (No such file or directory); export the model again"),
    (lambda folder: (folder / "detections.json").write_text("{"), "detections.json: damaged"),
    (lambda folder: (folder / "2.png").unlink(), "2.png: cannot be read as an image"),
    (lambda folder: tiny_models.mask_rcnn(folder.parent / "model.xml", rt_info=dict(labels="bg cat cow")),
     "whose classes is ['cat', 'dog'], not"),
], ids=["missing", "damaged", "image missing", "other classes"])
def test_golden_samples_that_cannot_be_used(golden, capsys, spoil, message):
    spoil(golden.parent / "golden")
    code, _, err = selftest(golden, capsys)
    assert code == 1 and message in err


def test_the_onnx_model_is_told_to_use_the_ir(tmp_path, capsys):
    code, _, err = selftest(tmp_path / "model.onnx", capsys)
    assert code == 1 and "the golden samples belong to the IR" in err
