"""Golden samples and `instseg check-ir --selftest`, on models whose detections are constants."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.cli import main
from instance_segmentation.ir.golden import FILES, IMAGES, Rerun, _compare, mask_iou, rerun, write_golden
from instance_segmentation.prediction import Prediction
from tests.unit import tiny_models

BOXES = ((24, 16, 72, 48, 0.9), (8, 8, 40, 56, 0.6))
INFO = dict(model_type="MaskRCNN", labels="otx_empty_lbl cat dog")
INPUTS = [np.full((1, 3, 64, 96), value, np.float32) for value in (255, 128, 0)]


def network(path, boxes=BOXES, labels=(1, 0), probability=1.0, **info):
    return tiny_models.mask_rcnn(path, boxes=boxes, labels=labels, probability=probability, rt_info=INFO | info)


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
    assert "6 masks compared, IoU ≥ 1.0000" in out


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
    (shutil.rmtree, "detections.json: there is no such file. Export the model again with images in which it finds something"),
    (lambda folder: (folder / "detections.json").write_text("{"), "detections.json: is not valid JSON: line 1"),
    (lambda folder: (folder / "2.png").unlink(), "2.png: cannot be read as an image"),
    (lambda folder: cv2.imwrite(str(folder / "2.png"), np.zeros((64, 95, 3))), "2.png: is 64×95 (height × width), but the"),
    (lambda folder: tiny_models.mask_rcnn(folder.parent / "model.xml", rt_info=dict(labels="bg cat cow")),
     "whose classes is ['cat', 'dog'], not"),
], ids=["missing", "damaged", "image missing", "image of another size", "other classes"])
def test_golden_samples_that_cannot_be_used(golden, capsys, spoil, message):
    spoil(golden.parent / "golden")
    code, _, err = selftest(golden, capsys)
    assert code == 1 and message in err


def test_the_onnx_model_is_told_to_use_the_ir(tmp_path, capsys):
    code, _, err = selftest(tmp_path / "model.onnx", capsys)
    assert code == 1 and "the golden samples belong to the IR" in err


@pytest.mark.parametrize("probability", [0.0, 0.49, float("nan"), float("inf")])
def test_a_model_whose_masks_died_fails(golden, capsys, probability):
    network(golden, probability=probability)
    code, _, err = selftest(golden, capsys)
    assert code == 1 and ("its mask has IoU 0.0000" in err or "values that are no numbers" in err)


@pytest.mark.parametrize("score", [float("nan"), -1.0])
def test_a_model_whose_scores_died_fails(golden, capsys, score):
    network(golden, [(*box[:4], score) for box in BOXES])
    code, _, err = selftest(golden, capsys)
    assert code == 1 and "is only expected" in err


def test_a_box_that_is_no_number_is_said(golden, capsys):
    network(golden, [(float("nan"), 16, 72, 48, 0.9), BOXES[1]])
    code, _, err = selftest(golden, capsys)
    assert code == 1 and "the model gives values that are no numbers" in err


def test_a_difference_that_is_no_number_is_beyond_every_tolerance():
    """pair_up takes NaN for near; Python's max() drops it."""
    boxes, size_hw = np.float32([[1, 2, 30, 40]]), (64, 96)
    rle = coco_mask.encode(np.asfortranarray(np.ones(size_hw, np.uint8)))
    expected = Prediction(boxes, np.float32([0.9]), np.int64([0]), [rle], ("cat",), size_hw)
    for shift, score in (np.nan, 0.9), (0, np.nan):
        result = Rerun()
        _compare(result, "1.png", expected, replace(expected, boxes=boxes + np.float32(shift), scores=np.float32([score])))
        assert len(result.differences) == 1 and np.isnan([result.box_px, result.score]).any()


def rle_of(rows, columns):
    mask = np.zeros((64, 96), np.uint8)
    mask[:rows, :columns] = 1
    return coco_mask.encode(np.asfortranarray(mask))


@pytest.mark.parametrize("one, other, iou", [
    ((50, 50), (0, 0), 0), ((7, 7), (0, 0), 0), ((50, 50), (2, 3), pytest.approx(6 / 2500)), ((7, 7), (7, 7), 1),
    ((7, 7), (7, 6), pytest.approx(42 / 49)), ((2, 3), (2, 2), 1), ((50, 50), (50, 49), 0.98), ((0, 0), (0, 0), None),
], ids=["died", "small and died", "shrank", "small", "small and changed", "a few pixels", "large", "never a pixel"])
def test_masks_are_judged_by_the_larger_one(one, other, iou):
    assert mask_iou(rle_of(*one), rle_of(*other)) == mask_iou(rle_of(*other), rle_of(*one)) == iou


def rewrite(golden, change):
    record = golden.parent / "golden/detections.json"
    content = json.loads(record.read_text())
    content = change(content) or content
    record.write_text(json.dumps(content))


def set_in_first(**values):
    return lambda content: content["images"]["1.png"][0].update(values)


@pytest.mark.parametrize("change, message", [
    (set_in_first(mask="0" * 3), "the runs of its mask do not add up"), (set_in_first(mask=""), "do not add up"),
    (set_in_first(mask="é" * 9), "do not add up"), (set_in_first(mask="~" * 40), "do not add up"),
    (set_in_first(mask=7), "do not add up"), (set_in_first(mask="PPPPPPPP" * 50), "do not add up"),
    (set_in_first(label=99), "label is 99, expected 0 to 1"), (set_in_first(label=True), "label is True"),
    (set_in_first(label="cat"), "label is 'cat'"),
    (set_in_first(score=float("nan")), "score is nan, expected a number from 0 to 1"),
    (set_in_first(score=None), "score is None"), (set_in_first(box=[1, 2, 3]), "box is [1, 2, 3], expected four numbers"),
    (set_in_first(box=[1, 2, 3, float("inf")]), "expected four numbers"),
    (lambda content: content["images"].update({"1.png": [3]}), "1.png: detection 1 is damaged (it is no object)"),
    (lambda content: content["images"].update({"1.png": 3}), "1.png: damaged (expected a list of detections)"),
    (lambda content: content.update(images={}), "nothing was found in the samples when they were made"),
    (lambda content: content.update(images={"1.png": [], "2.png": []}), "nothing was found in the samples"),
    (lambda content: content.update(images={"../1.png": []}), "damaged (it lists no images, or others than 1.png"),
    (lambda content: content.update(images=None), "damaged (it lists no images"),
    (lambda content: content.pop("classes") and None, "whose classes is None"),
    (lambda content: [1], "damaged (it lists no images"),
    (lambda content: content.update(input_size=[640, 640]), "whose input size is [640, 640]"),
])
def test_a_record_is_a_strangers_file(golden, capsys, change, message):
    rewrite(golden, change)
    code, _, err = selftest(golden, capsys)
    assert code == 1 and message in err


@pytest.mark.parametrize("labels, probability", [((-1, -1), 1.0), ((1, 0), 0.0)], ids=["nothing found", "no mask has a pixel"])
def test_samples_that_any_model_passes_are_not_written(tmp_path, labels, probability):
    path = network(tmp_path / "model.xml", labels=labels, probability=probability)
    assert write_golden(path, INPUTS) == 0 and not (tmp_path / "golden").exists()
