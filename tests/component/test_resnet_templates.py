"""ResNet trunks, images that keep their aspect ratio, cascades, deformable convolutions, C4, PointRend: graphs against mmdet."""

import cv2
import numpy as np
import pytest
import torch

from instance_segmentation.errors import ExportError
from tests.component.speaking import check_letterbox, photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES, SIZE = ("berry", "leaf"), (96, 96)
FEW = dict(model__test_cfg__rpn__max_per_img=40, model__test_cfg__rcnn__max_per_img=20)
TRUNK = dict(model__backbone__depth=18, model__backbone__base_channels=16, model__neck__in_channels=[16, 32, 64, 128], **FEW)
THIN = dict(model__roi_head__mask_head__conv_out_channels=32, model__roi_head__mask_head__num_convs=1)
CASCADE = dict(template="security-0091", **THIN,
               **{f"model__roi_head__bbox_head__{stage}__fc_out_channels": 64 for stage in range(3)})
DEEP = dict(model__backbone__depth=50, model__backbone__base_channels=8, model__neck__in_channels=[32, 64, 128, 256], **FEW)


def gate(model, **options):
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.parity import compare
    return compare(model, build_ir(model), **options)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photo that leaves a third of the input to the padding."""
    path = tmp_path_factory.mktemp("photo") / "wide.png"
    cv2.imwrite(str(path), photo_like((90, 150), 8))
    return path


@pytest.fixture(scope="module")
def portrait(photo):
    path = photo.with_name("portrait.png")
    cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(photo)), cv2.ROTATE_90_CLOCKWISE))
    return path


@pytest.fixture(scope="module")
def cascade():
    return speaking_network(CLASSES, SIZE, **CASCADE, **DEEP)


def test_kept_aspect_ratio(photo, portrait, tmp_path):
    from instance_segmentation.ir.export import write_ir
    model = speaking_network(CLASSES, (64, 96), "security-0002", **THIN, **TRUNK)
    exported = write_ir(model, tmp_path, origin={}, samples=[photo])
    assert exported.parity.detections > 5 and (exported.info.resize_type, exported.info.pad_value) == ("fit_to_window", 114)
    check_letterbox(model, exported.path, photo)
    check_letterbox(model, exported.path, portrait)  # in an input that lies


def test_cascade_with_deformable_convolutions(cascade, photo):
    result = gate(cascade, image_files=[photo])
    result.check()
    assert result.detections > 5


def test_gate_sees_a_changed_stage_of_a_cascade(cascade, photo):
    """What the first of three stages moves, the others move back in part: only the parts tell how much."""
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.parity import compare
    graph, layer = build_ir(cascade), cascade.roi_head.bbox_head[0].fc_reg
    kept = layer.weight
    layer.weight = torch.nn.Parameter(1.02 * kept.detach())
    try:
        with pytest.raises(ExportError, match="does not compute what the checkpoint computes"):
            compare(cascade, graph, [photo]).check()
    finally:
        layer.weight = kept


def test_onnx_of_a_cascade_with_deformable_convolutions(cascade, photo, tmp_path):
    import onnx

    from instance_segmentation.ir.export import write_onnx
    result = write_onnx(cascade, tmp_path / "m.onnx", origin={}, samples=[photo])
    assert result.parity.detections > 5
    assert "DeformConv" in {node.op_type for node in onnx.load(result.path).graph.node}


@pytest.mark.parametrize("kind", ["TraceableDeformConv", "TraceableModulatedDeformConv"])
@torch.no_grad()
def test_deformable_convolution_is_mmcvs(kind):
    from instance_segmentation.engine import deform_conv
    from instance_segmentation.ir.conversion import convert
    from instance_segmentation.ir.onnx_graph import trace
    from instance_segmentation.ir.onnx_session import OnnxSession
    from instance_segmentation.ir.session import compile_ir
    torch.manual_seed(0)
    layer = getattr(deform_conv, kind)(8, 6, 3, stride=2, padding=1, deform_groups=2, bias=False).eval()
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.7)  # points far apart, some outside
    image = torch.randn(1, 8, 20, 24)
    expected = type(layer).__mro__[1].forward(layer, image)  # mmcv's own
    for run in compile_ir(convert(layer, image)), OnnxSession(trace(layer, image, ["found"])):
        (found,) = run(image.numpy()).values()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.1


def test_path_aggregation(photo):
    result = gate(speaking_network(CLASSES, SIZE, "r50_pafpn-800x1344", **THIN, **TRUNK), image_files=[photo])
    result.check()
    assert result.detections > 5


def test_c4(photo):
    """No pyramid, and layers that box and mask head share."""
    model = speaking_network(CLASSES, SIZE, "r50_c4-800x1344", model__test_cfg__rpn__max_per_img=10,
                             model__test_cfg__rcnn__max_per_img=5)
    result = gate(model, image_files=[photo])
    result.check()
    assert result.detections == 5


def test_point_rend_without_its_point_head(photo):
    from instance_segmentation.deployment.exporting import leave_out_point_head
    model = speaking_network(CLASSES, SIZE, "point_rend_r50-800x1344", **TRUNK)
    leave_out_point_head(model)
    result = gate(model, image_files=[photo])
    result.check()
    assert result.detections > 5
    with pytest.raises(ExportError, match="--coarse-masks: the network is a PointRend without a point head"):
        leave_out_point_head(model)


def test_int8_of_a_cascade_leaves_coordinates_alone(cascade, photo, tmp_path):
    from instance_segmentation.ir.export import write_ir
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.mask_rcnn import REGIONS
    from instance_segmentation.ir.quantize import check_quantizable, coordinate_names, parts, quantize
    xml = write_ir(cascade, tmp_path, origin=dict(precision="FP32"), samples=[photo]).path
    model, info = read_ir(xml)
    check_quantizable(model, info, xml)
    always = coordinate_names(model)
    int8 = quantize(model, info, [photo], always)
    quantised = {node.input_value(0).get_node().get_friendly_name() for node in int8.get_ops()
                 if node.get_type_name() == "FakeQuantize"}
    assert {REGIONS.format(1), REGIONS.format(2)} <= always and len(quantised) > 50
    assert not [name for name in quantised & always if not name.startswith("Gather")]  # sorted features, for the next layer
    assert {"backbone stage 3", "neck", "box head", "mask head"} <= set(parts(model, always))
