"""What a model says about itself is a stranger's text: used where it is right, refused in a sentence where it is not."""

import json
import os

import numpy as np
import pytest

from instance_segmentation.cli import main
from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.ir.info import read_graph
from instance_segmentation.ir.session import compile_ir, planned_properties
from tests.unit import tiny_models

WHITE = np.full((64, 96, 3), 255, np.uint8)
NAMES = dict(model_type="MaskRCNN", labels="otx_empty_lbl cat red_dog")


def model_of(tmp_path, own=None, **entries):
    if own is not None:
        entries["instseg_export"] = own if isinstance(own, str) else json.dumps(own)
    return tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=NAMES | entries)


@pytest.mark.parametrize("entries, message", [
    (dict(own="{"), "instseg_export is not valid JSON"), (dict(own="[1]"), "instseg_export is [1], expected a JSON object"),
    (dict(own=dict(classes="cat")), "classes is 'cat', expected a list of class names"),
    (dict(own=dict(classes=[])), "classes is []"), (dict(own=dict(classes=["cat", 7])), "classes is ['cat', 7]"),
    (dict(own=dict(classes=["cat", " "])), "classes is ['cat', ' ']"),
    (dict(own=dict(input_size=[64, 97])), "input_size is [64, 97], expected the graph's own, [64, 96]"),
    (dict(own=dict(input_size=["a", 3])), "input_size is ['a', 3], expected height and width"),
    (dict(own=dict(input_size=[10**9, 10**9])), "input_size is [1000000000, 1000000000], expected height and width in pixels"),
    (dict(own=dict(class_thresholds=[0.5])), "class_thresholds is [0.5], expected a number for each of 2 classes"),
    (dict(own=dict(class_thresholds=[0.5, float("nan")])), "class_thresholds is [0.5, nan], expected numbers from 0 to 1"),
    (dict(own=dict(class_thresholds=7)), "class_thresholds is 7"), (dict(own=dict(mask_threshold=0)), "mask_threshold is 0"),
    (dict(own=dict(mask_threshold=None, score_threshold="0.1")), "score_threshold is '0.1'"),
    (dict(own=dict(channel_order="GBR")), "channel_order is 'GBR', expected BGR or RGB"),
    (dict(own=dict(runtime=[1])), "runtime is [1]"), (dict(own=dict(runtime=dict(LATENCY=3))), "runtime is {'LATENCY': 3}"),
    (dict(own=dict(origin="here")), "origin is 'here'"), (dict(own=dict(size_mp="big")), "size_mp is 'big'"),
    (dict(label_info="{]"), "label_info is not valid JSON"), (dict(label_info='{"label_names": "cat"}'), "label_info is 'cat'"),
    (dict(label_info='{"label_names": [1, 2]}'), "label_info is [1, 2]"),
    (dict(confidence_threshold="high"), "confidence_threshold is 'high', expected numbers"),
    (dict(confidence_threshold="nan"), "confidence_threshold is 'nan', expected a number from 0 to 1"),
    (dict(confidence_threshold="0.1 0.2"), "confidence_threshold is '0.1 0.2'"),
    (dict(pad_value="grey"), "pad_value is 'grey'"),
    (dict(pad_value="300"), "pad_value is '300', expected a number from 0 to 255"),
    (dict(pad_value="1.5"), "pad_value is '1.5'"), (dict(mean_values="1 2"), "mean_values is '1 2', expected three numbers"),
    (dict(mean_values="a b c"), "mean_values is 'a b c', expected numbers"),
    (dict(scale_values="1 0 1"), "scale_values is '1 0 1'"),
    (dict(scale_values="inf"), "scale_values is 'inf'"),
    (dict(resize_type="fit_max"), "resize_type is 'fit_max', expected one of"),
    (dict(resize_type="zoom"), "resize_type is 'zoom'"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_damage_is_a_sentence(tmp_path, entries, message):
    with pytest.raises(WeightsError) as caught:
        load_exported(model_of(tmp_path, **entries))
    assert f"m.xml: its metadata is damaged: {message}" in str(caught.value)


def test_check_ir_reads_damage_without_a_traceback(tmp_path, capsys):
    assert main.main(["check-ir", str(model_of(tmp_path, own=dict(classes=3)))]) == 1
    assert "classes is 3" in capsys.readouterr().err


@pytest.mark.parametrize("entries, factor", [
    (dict(scale_values="2"), 0.5), (dict(mean_values="55 55 55", scale_values="2 2 2"), 100 / 255),
    (dict(mean_values="55, 55, 55"), 200 / 255), (dict(mean_values="0 0 0", scale_values="1 1 1"), 1),
], ids=["one number", "three", "commas", "neutral"])
@pytest.mark.parametrize("kind", ["IR", "ONNX", "ONNX of another input name, NHWC", "ONNX of bytes"])
def test_mean_and_scale_are_applied(tmp_path, kind, entries, factor):
    if kind == "IR":
        path = model_of(tmp_path, **entries)
    else:
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        other = dict(name="data", nhwc=True) if "NHWC" in kind else {}
        other |= dict(element_type="UINT8") if "bytes" in kind else {}
        if "bytes" in kind and factor not in (0.5, 1):
            pytest.skip("bytes have no fractions and no negatives")
        path = tiny_models.onnx_mask_rcnn(tmp_path / "m.onnx", metadata=NAMES | entries, **other)
    model = load_exported(path, LoadOptions(threshold=0.0))
    assert model(WHITE).scores == pytest.approx([0.9 * factor], abs=2e-3) and model(WHITE).names() == ["red_dog"]


def test_mean_pixel_of_an_onnx_model(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tiny_models.onnx_mask_rcnn(tmp_path / "m.onnx", name="input", metadata=NAMES)
    model = load_exported(path, LoadOptions(threshold=0.0, mean=(55, 55, 55)))
    assert model(WHITE).scores == pytest.approx([0.9 * 200 / 255], rel=1e-4)


def test_a_layout_that_the_image_cannot_have(tmp_path):
    path = model_of(tmp_path)
    with pytest.raises(WeightsError, match=r"--layout \[NHWC\]: the model's image is \[1, 3, 64, 96\], which is NCHW; leave"):
        load_exported(path, LoadOptions(layout="[NHWC]"))
    with pytest.raises(WeightsError, match=r"--layout \[NC\]: expected NCHW or NHWC for the image"):
        load_exported(path, LoadOptions(layout="[NC]"))


@pytest.mark.parametrize("shape, message", [
    ((1, 1, 64, 96), "the model's image is [1, 1, 64, 96], but only images of 3 channels"),
    ((3, 64, 96), "images as input 'image', [1, 3, H, W]"),
])
def test_inputs_that_are_no_colour_image(tmp_path, shape, message):
    outputs = dict(boxes=tiny_models.constant(np.zeros((1, 5))), labels=tiny_models.constant([0], np.int64),
                   masks=tiny_models.constant(np.zeros((1, 14, 14))))
    path = tiny_models.save(outputs, dict(image=tiny_models.image_input(shape)), tmp_path / "m.xml", NAMES)
    with pytest.raises(WeightsError) as caught:
        load_exported(path)
    assert message in str(caught.value)


def fixed_answer(tmp_path, boxes, labels, masks):
    outputs = dict(boxes=tiny_models.constant(boxes), labels=tiny_models.constant(labels, np.int64),
                   masks=tiny_models.constant(masks))
    return load_exported(tiny_models.save(outputs, dict(image=tiny_models.image_input()), tmp_path / "m.xml", NAMES))


BOX = [[24, 16, 72, 48, 0.9]]


@pytest.mark.parametrize("boxes, labels, masks, message", [
    (BOX * 2, [0], np.ones((1, 14, 14)), "do not fit together: boxes [2, 5], labels [1], masks [1, 14, 14]"),
    (BOX, [0], np.ones((2, 14, 14)), "do not fit together"), (BOX, [0], np.ones((1, 0, 14)), "do not fit together"),
    ([[24, 16, 72, 48]], [0], np.ones((1, 14, 14)), "do not fit together"),
    (BOX, [7], np.ones((1, 14, 14)), "object of class 8, but there are only 2 class names"),
    ([[np.nan, 16, 72, 48, 0.9]], [0], np.ones((1, 14, 14)), "values that are no numbers"),
    ([[24, 16, np.inf, 48, 0.9]], [0], np.ones((1, 14, 14)), "values that are no numbers"),
    (BOX, [0], np.full((1, 14, 14), np.nan), "values that are no numbers"),
])
def test_answers_that_make_no_sense(tmp_path, boxes, labels, masks, message):
    with pytest.raises(WeightsError) as caught:
        fixed_answer(tmp_path, boxes, labels, masks)(WHITE)
    assert message in str(caught.value)


def test_the_background_is_no_object_of_segmentolys(tmp_path):
    outputs = dict(boxes=tiny_models.constant([BOX[0][:4]] * 2), scores=tiny_models.constant([0.9, 0.8]),
                   classes=tiny_models.constant([0, 1]), raw_masks=tiny_models.constant(np.ones((2, 3, 14, 14))))
    inputs = dict(im_data=tiny_models.image_input(), im_info=tiny_models.image_input((1, 3)))
    model = load_exported(tiny_models.save(outputs, inputs, tmp_path / "m.xml"), LoadOptions(labels=("cat", "dog")))
    assert model(WHITE).names() == ["cat"]


def test_a_model_chooses_no_files_and_no_more_threads_than_there_are(tmp_path):
    asked = dict(CACHE_DIR=str(tmp_path / "cache"), INFERENCE_NUM_THREADS=100_000, NUM_STREAMS="100000",
                 INFERENCE_PRECISION_HINT="bf16", LOG_LEVEL="LOG_TRACE", WEIGHTS_PATH="/etc/passwd")
    graph = read_graph(model_of(tmp_path, own=dict(runtime=dict(LATENCY=asked))))
    expected = dict(INFERENCE_NUM_THREADS=os.cpu_count(), INFERENCE_PRECISION_HINT="bf16")
    assert planned_properties(graph, "LATENCY") == expected and planned_properties(graph, "THROUGHPUT") == {}
    compile_ir(graph)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("precision, found", [(None, "float"), ("f32", "float"), ("bf16", "bf16"), ("auto", None)])
def test_precision(tmp_path, precision, found):
    from instance_segmentation.ir.core import core
    if found == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found = None
    model = load_exported(model_of(tmp_path), LoadOptions(precision=precision))
    hint = model.run.get_property("INFERENCE_PRECISION_HINT").to_string()
    assert hint == {"float": "f32"}.get(found, found) or found is None
    assert model(WHITE).scores == pytest.approx([0.9], abs=5e-3)


def test_an_unknown_precision(tmp_path):
    with pytest.raises(WeightsError, match="--precision f8: expected f32, bf16, f16 or auto"):
        load_exported(model_of(tmp_path), LoadOptions(precision="f8"))
    pytest.importorskip("onnx")
    with pytest.raises(WeightsError, match="--precision bf16: is for OpenVINO models"):
        load_exported(tiny_models.onnx_mask_rcnn(tmp_path / "m.onnx", metadata=NAMES), LoadOptions(precision="bf16"))
