"""PointRend with its point head: IR and ONNX beside mmdet's own loop over points."""

import numpy as np
import pytest
import torch

from instance_segmentation.errors import ExportError
from instance_segmentation.ir.session import compile_ir
from tests.component.speaking import photo_like, speaking_network
from tests.component.test_resnet_templates import TRUNK

pytestmark = pytest.mark.component
CLASSES, SIZE, TEMPLATE = ("berry", "leaf", "stone"), (96, 128), "point_rend_r50-800x1344"
# 7×7 cells → 14×14, which is passed over → 28×28, all computed anew → 56×56 → 112×112
SMALL = dict(TRUNK, model__roi_head__point_head__fc_channels=64, model__roi_head__mask_head__fc_out_channels=64,
             model__roi_head__bbox_head__fc_out_channels=64, model__test_cfg__rcnn__subdivision_steps=4,
             model__test_cfg__rcnn__max_per_img=10)


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, SIZE, TEMPLATE, **SMALL)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(network, tmp_path_factory.mktemp("ir"), origin=dict(precision="FP32"))


def image_of(seed):
    return torch.from_numpy(photo_like(SIZE, seed)).permute(2, 0, 1)


def run(xml, image):
    from instance_segmentation.ir.info import read_ir
    answer = compile_ir(read_ir(xml)[0])(image[None].float().numpy())
    return {name: answer[name] for name in ("boxes", "labels", "masks")}


def test_cells_equal_the_checkpoints_at_the_same_points(network, exported, monkeypatch):
    """Of cells that are as sure as each other, rounding decides which is computed anew: here mmdet's loop takes the graph's."""
    from instance_segmentation.engine import point_rend
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.parity import run_checkpoint
    model, _ = read_ir(exported.path)
    chosen = [node.output(1) for node in model.get_ordered_ops() if node.get_type_name() == "TopK"]
    model.add_outputs([cells for cells in chosen if cells.get_partial_shape().rank == 2])  # the other TopK is the proposals'
    found = list(compile_ir(model)(image_of(3)[None].float().numpy()).values())
    (boxes, labels, masks), choices, points = found[:3], iter(found[3:]), network.roi_head.point_head
    own_choice = points.get_roi_rel_points_test

    def graphs_choice(logits, labels, cfg):
        doubt, cells = logits[range(len(logits)), labels].flatten(1).abs(), torch.from_numpy(next(choices)).long()
        assert (doubt.gather(1, cells) <= doubt.kthvalue(cells.shape[1], 1, keepdim=True).values + 1e-4).all()
        return own_choice(torch.ones_like(doubt).scatter(1, cells, 0).reshape(-1, 1, *logits.shape[2:]), labels, cfg)
    monkeypatch.setattr(points, "get_roi_rel_points_test", graphs_choice)
    monkeypatch.setattr(point_rend, "TOGETHER", len(boxes))
    expected = run_checkpoint(network, image_of(3))
    assert next(choices, None) is None and masks.shape == (10, 112, 112) and len(set(labels)) > 1
    np.testing.assert_array_equal(labels, expected["labels"])
    np.testing.assert_allclose(masks, expected["masks"], atol=1e-4)
    assert masks.std() > 0.2


def test_gate(exported):
    assert exported.parity.detections > 20 and not exported.parity.unexplained and exported.parity.mask_iou > 0.999


def test_gate_sees_a_changed_layer(network):
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.parity import compare
    graph, layer = build_ir(network), network.roi_head.point_head.fcs[1].conv
    kept = layer.weight
    layer.weight = torch.nn.Parameter(1.02 * kept.detach())
    try:
        with pytest.raises(ExportError, match="a mask's IoU is"):
            compare(network, graph).check()
    finally:
        layer.weight = kept


def test_onnx(network, tmp_path):
    from instance_segmentation.ir.export import write_onnx
    result = write_onnx(network, tmp_path / "m.onnx", origin={})
    assert result.parity.detections > 20 and result.parity.mask_iou > 0.999


def test_nothing_found(network, monkeypatch):
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.onnx_graph import build_onnx
    from instance_segmentation.ir.onnx_session import OnnxSession
    from instance_segmentation.ir.parity import compare
    monkeypatch.setitem(network.test_cfg.rcnn, "score_thr", 1.0)
    graph, image = build_ir(network), image_of(3)[None].float().numpy()
    for run_model in compile_ir(graph), OnnxSession(build_onnx(network).SerializeToString()):
        found = run_model(image)
        assert [found[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 112, 112)]
    assert compare(network, graph).detections == 0


def test_int8_leaves_places_and_choice_of_points_alone(network, exported, tmp_path):
    import cv2

    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.quantize import coordinate_names, parts, quantize, save
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), photo_like(SIZE, 3))
    model, info = read_ir(exported.path)
    always = coordinate_names(model)
    int8 = quantize(model, info, [photo], always)
    save(int8, tmp_path / "int8.xml", 1, [])
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
    quantised = {node.input_value(0).get_node().get_friendly_name() for node in int8.get_ops()
                 if node.get_type_name() == "FakeQuantize"}
    assert sum(kinds[name] == "TopK" for name in always) == 4  # proposals, and three times points
    assert "mask head" in parts(model, always) and sum("fcs" in name for name in quantised) >= 4
    assert not [name for name in quantised & always if kinds[name] != "Gather"]
    assert run(tmp_path / "int8.xml", image_of(3))["masks"].shape[1:] == (112, 112)


def test_segmentoly_asks_for_coarse_masks(network):
    from instance_segmentation.ir.graph import build_ir
    with pytest.raises(ExportError, match="--segmentoly: is for masks of all classes, but PointRend.*--coarse-masks"):
        build_ir(network, two_inputs=True)
