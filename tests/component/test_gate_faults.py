"""Faults planted in an exported network: the parity gate finds each of them."""

import copy

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as op

from instance_segmentation.errors import ExportError
from instance_segmentation.ir.graph import build_ir, thresholds_of
from instance_segmentation.ir.info import rt_info, set_rt_info
from instance_segmentation.ir.parity import FP16_TOLERANCE, STRICT_TOLERANCE, compare
from tests.component.speaking import speaking_network

pytestmark = pytest.mark.component
CLASSES, SIZE_HW = ["ripe fruit", "flower"], (96, 128)


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, SIZE_HW)


@pytest.fixture(scope="module")
def graph(network):
    return build_ir(network)


def refused(network, graph, tolerance=STRICT_TOLERANCE):
    with pytest.raises(ExportError, match="does not compute what the checkpoint computes"):
        compare(network, graph, tolerance=tolerance).check(tolerance)


def test_without_a_fault_it_passes(network, graph):
    result = compare(network, graph)
    result.check()
    assert result.detections > 20


def channel_order(model):
    return build_ir(model, channel_order="RGB")


def mean(model):
    model.data_preprocessor.mean += torch.tensor([1.0, 0.0, 0.0]).view(-1, 1, 1)
    return build_ir(model)


def mask_row(model):
    with torch.no_grad():
        model.roi_head.mask_head.conv_logits.weight[1] *= 1.05
    return build_ir(model)


def exchanged_masks(model):
    with torch.no_grad():
        model.roi_head.mask_head.conv_logits.weight.copy_(model.roi_head.mask_head.conv_logits.weight.flip(0))
    return build_ir(model)


def shifted_rois(model):
    graph = build_ir(model)
    for node in [node for node in graph.get_ops() if node.get_type_name() == "ROIAlign"]:
        node.input(1).replace_source_output(op.add(node.input_value(1), np.float32(0.5)).output(0))
    return graph


def dropped_layer(model):
    graph = build_ir(model)
    last = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Relu"][-1]
    last.output(0).replace(last.input_value(0))
    return graph


@pytest.mark.parametrize("plant", [channel_order, mean, mask_row, exchanged_masks, shifted_rois, dropped_layer])
def test_fault_in_the_graph(network, plant):
    refused(network, plant(copy.deepcopy(network)))


@pytest.mark.parametrize("wrong", [dict(resize_type="fit_to_window_letterbox"), dict(pad_value=7), dict(mean=(1.0, 2.0, 3.0)),
                                   dict(channel_order="RGB"), dict(classes=("flower", "ripe fruit")), dict(mask_threshold=0.4)])
def test_fault_in_what_the_model_says_about_itself(network, graph, wrong):
    from dataclasses import replace

    from instance_segmentation.ir.export import describe
    from instance_segmentation.ir.parity_facts import wrong_facts
    written, info = graph.clone(), describe(network, {}, "", "BGR")
    set_rt_info(written, rt_info(info, thresholds_of(network).iou))
    assert not wrong_facts(network, written, "BGR")
    entries = rt_info(replace(info, **wrong), thresholds_of(network).iou)
    if "mean" in wrong:
        entries["mean_values"] = "1 2 3"
    set_rt_info(written, entries)
    (fact,) = wrong_facts(network, written, "BGR")
    assert next(iter(wrong)) in fact


def test_weights_that_float16_cannot_hold(network):
    model = copy.deepcopy(network)
    first, second = model.roi_head.bbox_head.shared_fcs
    with torch.no_grad():  # the same function: a ReLU lies between
        first.weight *= 1e7
        first.bias *= 1e7
        second.weight /= 1e7
    rounded = copy.deepcopy(model)
    with torch.no_grad():  # OpenVINO's own compression keeps such layers in float32; other tools' does not
        rounded.roi_head.bbox_head.shared_fcs[0].weight.copy_(first.weight.half().float())
        rounded.roi_head.bbox_head.shared_fcs[1].weight.copy_(second.weight.half().float())
    refused(model, build_ir(rounded), FP16_TOLERANCE)


def test_weights_of_another_checkpoint_in_the_bin(network, graph, tmp_path):
    ov.save_model(build_ir(speaking_network(CLASSES, SIZE_HW, seed=1)), tmp_path / "other.xml", compress_to_fp16=False)
    ov.save_model(graph, tmp_path / "model.xml", compress_to_fp16=False)
    assert (tmp_path / "model.bin").stat().st_size == (tmp_path / "other.bin").stat().st_size
    (tmp_path / "other.bin").replace(tmp_path / "model.bin")
    refused(network, ov.Core().read_model(tmp_path / "model.xml"))


@pytest.mark.parametrize("fault", ["none", "maps", "nan"])
def test_nothing_is_detected(fault):
    """The parts are all there is to compare: the same maps pass, and say so; others do not."""
    model = speaking_network(CLASSES, SIZE_HW, model__test_cfg__rcnn__score_thr=0.999999)
    other = copy.deepcopy(model)
    with torch.no_grad():
        if fault == "maps":
            other.rpn_head.rpn_reg.weight *= 1.05
        if fault == "nan":
            other.roi_head.bbox_head.fc_cls.weight[0] = float("nan")
    result = compare(model, build_ir(other))
    assert not result.detections and "0 detections: only maps were compared" in result.summary()
    if fault in ("maps", "nan"):
        with pytest.raises(ExportError, match="nothing is detected|NaN"):
            result.check()
    else:
        result.check()
