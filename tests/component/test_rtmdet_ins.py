"""RTMDet-Ins: its graph against mmdet, its letterbox, its crops, INT8."""

import numpy as np
import openvino as ov
import pytest
import torch
from pycocotools import mask as coco_mask

from instance_segmentation.errors import ExportError, TemplateError
from tests.component.speaking import (
    check_letterbox,
    letterboxed,
    photo_like,
    speaking_network,
)

pytestmark = pytest.mark.component
CLASSES, SIZE, TEMPLATE = ("berry", "leaf", "stone"), (128, 160), "rtmdet-ins_tiny-640x640"


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, SIZE, TEMPLATE)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two photos of other shapes than the input's."""
    import cv2
    folder = tmp_path_factory.mktemp("photos")
    for seed, size_hw in zip((7, 8), [(200, 150), (90, 150)], strict=True):
        cv2.imwrite(str(folder / f"{seed}.png"), photo_like(size_hw, seed))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def exported(network, photos, tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(network, tmp_path_factory.mktemp("rtmdet"), template=TEMPLATE, origin=dict(precision="FP32"), samples=photos)


def test_same_contract_as_mask_rcnn(exported):
    model = ov.Core().read_model(exported.path)
    assert {port.any_name: port.get_partial_shape().rank.get_length() for port in model.outputs} == dict(
        boxes=2, labels=1, masks=3)
    assert model.output("masks").get_partial_shape()[1:].to_shape() == ov.Shape([56, 56])
    info = {key: model.get_rt_info(["model_info", key]).value for key in ("model_type", "resize_type", "pad_value")}
    assert info == dict(model_type="MaskRCNN", resize_type="fit_to_window", pad_value="114")


def test_gate_compared_detections(exported):
    assert exported.parity.detections > 20 and not exported.parity.unexplained
    assert exported.parity.box_px < 1e-2 and exported.parity.mask_probability < 1e-2


def test_gate_on_noise_with_short_lists(network):
    """More candidates than `nms_pre` and `max_per_img` let through."""
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.parity import compare
    kept = dict(network.test_cfg)
    network.test_cfg.update(nms_pre=30, max_per_img=20, score_thr=0.04)
    network.bbox_head.test_cfg.update(network.test_cfg)
    try:
        found = compare(network, build_ir(network, "RGB"), channel_order="RGB")
    finally:
        network.test_cfg.update(kept)
        network.bbox_head.test_cfg.update(kept)
    found.check()
    assert found.detections > 30


def test_gate_can_fail(network, exported):
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.parity import compare
    layer = network.bbox_head.mask_head.projection
    kept = layer.weight
    layer.weight = torch.nn.Parameter(1.1 * kept.detach())  # what the masks are made of, alone
    try:
        with pytest.raises(ExportError, match="a mask's IoU is"):
            compare(network, read_ir(exported.path)[0]).check()
    finally:
        layer.weight = kept


def test_nothing_found(network):
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.session import compile_ir
    kept = network.test_cfg.score_thr
    network.test_cfg.score_thr = 1.0
    try:
        answer = compile_ir(build_ir(network))(np.zeros((1, 3, *SIZE), np.float32))
    finally:
        network.test_cfg.score_thr = kept
    assert [answer[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 56, 56)]


def test_evaluation_demo_and_checkpoint_find_the_same(network, exported, photos):
    check_letterbox(network, exported.path, photos[1])


@torch.inference_mode()
def test_masks_are_mmdets_inside_the_boxes(network, photos):
    from mmdet.models.dense_heads import RTMDetInsSepBNHead
    batch = letterboxed(photos[0], SIZE)
    data = network.data_preprocessor(batch)
    ours = network.test_step(batch)[0].pred_instances
    head, features = network.bbox_head, network.extract_feat(data["inputs"])
    metas = [sample.metainfo for sample in data["data_samples"]]
    kept, seen = type(head)._bbox_mask_post_process, 0
    type(head)._bbox_mask_post_process = RTMDetInsSepBNHead._bbox_mask_post_process
    try:
        (theirs,) = RTMDetInsSepBNHead.predict_by_feat(head, *head(features), batch_img_metas=metas, rescale=True)
    finally:
        type(head)._bbox_mask_post_process = kept
    for box, mask, rle in _paired(ours, theirs):
        left, top, right, bottom = box.round().int().tolist()
        inside = np.zeros(mask.shape, np.uint8)
        inside[top:bottom, left:right] = mask[top:bottom, left:right]
        other = coco_mask.encode(np.asfortranarray(inside))
        if coco_mask.area(other) > 400:
            seen += 1
            assert coco_mask.iou([rle], [other], [0])[0, 0] > 0.9
    assert seen > 5


def _paired(ours, theirs):
    """Box, their mask, our RLE of detections that both have."""
    for box, score, rle in zip(ours.bboxes, ours.scores, ours.masks, strict=True):
        same = ((theirs.bboxes - box).abs().amax(1) < 0.1) & ((theirs.scores - score).abs() < 1e-5)
        if same.any():
            yield box, theirs.masks[int(same.nonzero()[0, 0])].numpy(), rle


def test_input_size_reaches_every_step(repo):
    from instance_segmentation.engine.config import innermost, read_config, set_input_size
    cfg = read_config(repo / "model_templates/custom-instance-segmentation" / TEMPLATE / "model.py")
    assert (cfg.resize_type, cfg.pad_value) == ("fit_to_window", 114)
    set_input_size(cfg, (192, 256))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        steps = {step.type: step for step in innermost(loader.dataset).pipeline}
        resize = steps.get("FitToWindow") or steps["RandomResize"]
        assert resize.scale == steps["Pad"].size == (256, 192)
        assert steps["Pad"].pad_val.img == (114, 114, 114)
        assert steps.get("PolygonCrop", dict(crop_size=(256, 192)))["crop_size"] == (256, 192)


def test_recipe_of_a_run(repo, tmp_path):
    """Frozen stages, tiles: where the config differs from Mask R-CNN's."""
    from instance_segmentation.engine.config import read_config, train_config
    from instance_segmentation.engine.network import build_network
    path = repo / "model_templates/custom-instance-segmentation" / TEMPLATE / "model.py"
    run = dict(train_json="t.json", val_json="v.json", val_polygons="p.json", images=10, classes=CLASSES, output=tmp_path,
               epochs=3, batch_size=4, tiles=True)
    cfg = train_config(read_config(path), **run, frozen_stages=4)
    assert cfg.val_dataloader.dataset.pipeline[0].type == "LoadTile"
    assert not any(weight.requires_grad for weight in build_network(cfg, CLASSES).train().backbone.parameters())
    with pytest.raises(TemplateError, match="--frozen-stages: got 5, CSPNeXt has 4"):
        train_config(read_config(path), **run, frozen_stages=5)


def test_other_limits_equal_an_export_with_other_settings(network, exported):
    """They count detections, of which a speed leaves none out."""
    from instance_segmentation.inference.exported import LoadOptions
    from instance_segmentation.inference.speeds import lighten
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.limits import Limits, counted, read_limits, set_limits
    from instance_segmentation.ir.session import compile_ir
    edited, config = ov.Core().read_model(exported.path), network.test_cfg
    assert (read_limits(edited), counted(edited)) == ((100, 0.05), "detections")
    set_limits(edited, Limits(12, 0.1))
    assert read_limits(edited) == Limits(12, 0.1)
    config.max_per_img, config.score_thr = 12, 0.1
    try:
        graphs = [compile_ir(graph) for graph in (edited, build_ir(network))]
    finally:
        config.max_per_img, config.score_thr = 100, 0.05
    seen = 0
    for seed in range(2):
        one, other = (graph(photo_like(SIZE, seed).transpose(2, 0, 1)[None].astype(np.float32)) for graph in graphs)
        for name in ("boxes", "labels", "masks"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-3)
        seen += len(one["boxes"])
    assert 0 < seen <= 24
    lighten(edited, LoadOptions(speed="rapid"), 0.3, exported.path)
    assert read_limits(edited) == Limits(12, 0.3)


def test_int8_leaves_coordinates_and_masks_alone(exported, photos):
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.quantize import check_quantizable, coordinate_names, parts, quantize
    model, info = read_ir(exported.path)
    check_quantizable(model, info, exported.path)
    always = coordinate_names(model)
    int8 = quantize(model, info, photos, always)
    quantised = {node.input_value(0).get_node().get_friendly_name() for node in int8.get_ops()
                 if node.get_type_name() == "FakeQuantize"}
    assert not quantised & always and len(quantised) > 50
    assert {"backbone stage 1", "neck", "box and kernel branches", "mask features"} <= set(parts(model, always))


@pytest.fixture(scope="module")
def onnx_file(network, photos, tmp_path_factory):
    from instance_segmentation.ir.export import write_onnx
    result = write_onnx(network, tmp_path_factory.mktemp("onnx") / "m.onnx", origin={}, samples=photos)
    assert result.parity.detections > 20 and not result.parity.unexplained and result.parity.box_px <= 1e-3
    assert (result.info.resize_type, result.info.pad_value) == ("fit_to_window", 114)
    return result.path


def test_onnx_has_standard_operators_and_fixed_masks(onnx_file):
    import onnx
    graph = onnx.load(onnx_file).graph
    assert {node.domain for node in graph.node} == {""}
    assert [dim.dim_param or dim.dim_value for dim in graph.output[2].type.tensor_type.shape.dim] == ["detections", 56, 56]


def test_evaluation_demo_and_checkpoint_find_the_same_in_onnx(network, onnx_file, photos):
    check_letterbox(network, onnx_file, photos[1])


def test_gate_of_onnx_can_fail(network, onnx_file):
    from instance_segmentation.ir.parity import compare
    layer = network.bbox_head.rtm_reg[0]
    kept = layer.weight
    layer.weight = torch.nn.Parameter(1.01 * kept.detach())
    try:
        with pytest.raises(ExportError, match="does not compute what the checkpoint computes"):
            compare(network, onnx_file).check()
    finally:
        layer.weight = kept


def test_onnx_that_finds_nothing(network, tmp_path):
    """Also while it is traced."""
    from instance_segmentation.ir.export import write_onnx
    from instance_segmentation.ir.onnx_session import read_onnx
    kept = network.test_cfg.score_thr
    network.test_cfg.score_thr = 1.0
    try:
        run, _ = read_onnx(write_onnx(network, tmp_path / "m.onnx", origin={}).path)
    finally:
        network.test_cfg.score_thr = kept
    answer = run(np.zeros((1, 3, *SIZE)))
    assert [answer[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 56, 56)]
