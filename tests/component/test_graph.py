"""The OpenVINO graph against mmdet, network by network."""

import numpy as np
import openvino as ov
import pytest
import torch

from instance_segmentation.errors import ExportError
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component


def build(model, **options):
    from instance_segmentation.ir.graph import build_ir
    return build_ir(model, **options)


def parity(model, graph, files=(), **options):
    from instance_segmentation.ir.parity import compare
    return compare(model, graph, files, **options)


def compiled(graph):
    from instance_segmentation.ir.session import compile_ir
    return compile_ir(graph)


@pytest.fixture(scope="module")
def network():
    return speaking_network(["ripe fruit", "flower", "leaf"])


@pytest.fixture(scope="module")
def graph(network):
    return build(network)


@pytest.fixture(scope="module")
def photos(request):
    """Files of a few photos: real ones where there are any."""
    from tests.conftest import real_data
    folder = real_data()
    if folder:
        return sorted((folder / "coco_val2017_subset" / "images").glob("*.jpg"))[:3]
    return sorted((request.getfixturevalue("sample_data") / "val").glob("*.jpg"))[:3]


CASES = {
    "80 classes": dict(classes=[f"class {i}" for i in range(80)]),
    "1 class, 576 template's heads": dict(classes=["person"], template="576x576", size_hw=(160, 128)),
    "more proposals asked than anchors": dict(
        classes=["a", "b"], size_hw=(64, 96), model__test_cfg__rpn__nms_pre=100000, model__test_cfg__rpn__max_per_img=50),
    "class-agnostic boxes, short lists": dict(
        classes=["a", "b"], size_hw=(96, 96), model__roi_head__bbox_head__reg_class_agnostic=True,
        model__test_cfg__rcnn__max_per_img=7, model__test_cfg__rpn__nms_pre=200),
    "RGB network with deviations": dict(
        classes=["a", "b"], size_hw=(96, 96), model__data_preprocessor__bgr_to_rgb=True,
        model__data_preprocessor__std=[58.4, 57.1, 57.4]),
    "one mask for all classes, enlarged bilinearly": dict(
        classes=["a", "b"], size_hw=(96, 96), model__roi_head__mask_head__class_agnostic=True,
        model__roi_head__mask_head__upsample_cfg=dict(type="bilinear", scale_factor=2)),
    "pyramid enlarged bilinearly": dict(classes=["a", "b"], size_hw=(96, 64), model__neck__upsample_cfg=dict(mode="bilinear")),
}


def test_same_detections_on_photos(network, graph, photos):
    result = parity(network, graph, photos)
    result.check()
    assert result.detections > 20
    assert result.excused <= 0.02 * result.detections
    assert result.mask_probability < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_same_detections(case, photos):
    model = speaking_network(**CASES[case])
    result = parity(model, build(model), photos)
    result.check()
    assert result.detections > 5


@pytest.mark.parametrize("gap, parts_agree, refused", [(3e-4, True, False), (3e-4, False, True), (3e-3, True, True)])
def test_score_moved_by_rounding(network, graph, photos, monkeypatch, gap, parts_agree, refused):
    """A score apart passes, and is counted, only when every part of the network agrees, and never by much."""
    from instance_segmentation.ir import parity_mask_rcnn
    run = parity_mask_rcnn.run_checkpoint

    def moved(model, image):
        answer = run(model, image)
        answer["boxes"][0, 4] -= gap
        return answer

    monkeypatch.setattr(parity_mask_rcnn, "run_checkpoint", moved)
    if not parts_agree:
        monkeypatch.setattr(parity_mask_rcnn, "same_in_parts", lambda *more: False)
    result = parity(network, graph, photos[:1])
    assert (result.score > 1e-4, result.amplified) == (not parts_agree, int(parts_agree))
    if refused:
        with pytest.raises(ExportError, match="scores"):
            result.check()
    else:
        result.check()


def test_contract(graph):
    """Ranks, types and a static input: what Model API and the Open Model Zoo demo go by."""
    (image,) = graph.inputs
    assert (image.any_name, tuple(image.get_shape()), image.get_element_type()) == ("image", (1, 3, 128, 160), ov.Type.f32)
    assert graph.get_parameters()[0].get_layout() == ov.Layout("NCHW")
    assert {output.any_name: output.get_partial_shape().rank.get_length() for output in graph.outputs} == dict(
        boxes=2, labels=1, masks=3)
    assert graph.output("labels").get_element_type() == ov.Type.i64


def test_boxes_lie_inside_and_scores_descend(graph):
    answer = compiled(graph)(photo_like((128, 160), 9).transpose(2, 0, 1)[None].astype(np.float32))
    boxes = answer["boxes"]
    assert boxes[:, :4].min() >= 0 and (boxes[:, 2] <= 160).all() and (boxes[:, 3] <= 128).all()
    assert (np.diff(boxes[:, 4]) <= 0).all() and (boxes[:, 4] > 0.05).all()


def test_nothing_found():
    """A threshold that nothing reaches: empty outputs of the right shapes."""
    model = speaking_network(["a", "b"], (64, 64), model__test_cfg__rcnn__score_thr=1.0)
    answer = compiled(build(model))(np.zeros((1, 3, 64, 64), np.float32))
    assert [answer[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 14, 14)]


def test_no_proposal_at_all():
    """Every proposal is moved out of the image: the heads get nothing."""
    model = speaking_network(["a", "b"], (64, 64))
    with torch.no_grad():
        model.rpn_head.rpn_reg.weight.zero_()
        model.rpn_head.rpn_reg.bias.fill_(100.0)
    answer = compiled(build(model))(np.zeros((1, 3, 64, 64), np.float32))
    assert [answer[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 14, 14)]


def test_rgb_input(network, graph):
    image = photo_like((128, 160), 3).transpose(2, 0, 1)[None].astype(np.float32)
    rgb = compiled(build(network, channel_order="RGB"))
    np.testing.assert_allclose(rgb(image[:, ::-1].copy())["boxes"], compiled(graph)(image)["boxes"], atol=1e-3)


@pytest.mark.parametrize("size", [55.99, 56.0, 111.999, 112.0, 112.001, 224.0, 447.99, 448.0, 900.0, 0.0])
def test_roi_level_is_mmdets(network, size):
    """Boxes at the borders between levels are read from the same level as in SingleRoIExtractor."""
    from openvino import opset13 as op

    from instance_segmentation.ir.mask_rcnn import roi_levels
    extractor = network.roi_head.bbox_roi_extractor
    boxes = np.array([[3, 5, 3 + size, 5 + size]], np.float32)
    parameter = op.parameter([-1, 4], np.float32)
    levels = compiled(ov.Model([roi_levels(parameter, extractor)], [parameter]))(boxes)[0]
    expected = extractor.map_roi_levels(torch.cat([torch.zeros(1, 1), torch.from_numpy(boxes)], 1), 4)
    assert levels.tolist() == expected.tolist()


def test_unsupported_parts_are_named():
    model = speaking_network(["a"], (64, 64))
    model.test_cfg.rcnn.nms = dict(type="soft_nms", iou_threshold=0.5)
    model.roi_head.bbox_head.bbox_coder.add_ctr_clamp = True
    with pytest.raises(ExportError, match=r"bbox_head\.bbox_coder(.|\n)*test_cfg\.rcnn\.nms"):
        build(model)


def test_gate_can_fail(network, graph, photos):
    """A slightly different checkpoint is told apart, on the detections it shares and by the parts of the others."""
    layer = network.roi_head.bbox_head.fc_reg
    kept = layer.weight
    layer.weight = torch.nn.Parameter(1.01 * kept.detach())  # a new tensor: the graph's constants share the old one's memory
    try:
        with pytest.raises(ExportError, match="does not compute what the checkpoint computes"):
            parity(network, graph, photos[:2]).check()
    finally:
        layer.weight = kept


def test_lean_neck_equals_mmdets(network):
    from instance_segmentation.ir.neck import LeanFPN, lean_neck
    lean = lean_neck(network.neck)
    assert isinstance(lean, LeanFPN)
    image = torch.from_numpy(photo_like(network.input_size, 3)).permute(2, 0, 1)[None].float() - 120
    with torch.no_grad():
        maps = network.backbone(image)
        for ours, theirs in zip(lean(maps), network.neck(maps), strict=True):
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
