"""YOLACT: its graph, how its outputs are read, and the words when it cannot be exported."""

import copy

import numpy as np
import openvino as ov
import pytest
import torch
from pycocotools import mask as coco_mask

from instance_segmentation.errors import ExportError
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES, SIZE = ("berry", "leaf", "stone"), (96, 128)


def small_network(classes, **options):
    """The template's network on ResNet-18, and narrower."""
    return speaking_network(classes, SIZE, "yolact_r50-544x544", model__backbone__depth=18,
                            model__neck__in_channels=[64, 128, 256, 512], model__neck__out_channels=64,
                            model__bbox_head__in_channels=64, model__bbox_head__feat_channels=64,
                            model__mask_head__in_channels=64, **options)


@pytest.fixture(scope="module")
def network():
    return small_network(CLASSES)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(network, tmp_path_factory.mktemp("yolact"), template="yolact", origin={}, channel_order="RGB")


@pytest.fixture(scope="module")
def onnx_file(network, tmp_path_factory):
    from instance_segmentation.ir.export import write_onnx
    result = write_onnx(network, tmp_path_factory.mktemp("onnx") / "m.onnx", origin={}, channel_order="RGB")
    assert result.parity.detections > 20 and result.parity.box_px <= 1e-3 and not result.parity.unexplained
    return result.path


def sample(size_hw, ori_shape):
    from mmdet.structures import DetDataSample
    scale = (size_hw[1] / ori_shape[1], size_hw[0] / ori_shape[0])
    return DetDataSample(metainfo=dict(img_shape=size_hw, ori_shape=ori_shape, scale_factor=scale))


def batch(image, ori_shape=(150, 170)):
    return dict(inputs=[torch.from_numpy(image).permute(2, 0, 1).contiguous()], data_samples=[sample(SIZE, ori_shape)])


def ious(some, others):
    return [coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(some, others, strict=True)]


def test_the_four_outputs_of_the_contract(exported):
    from instance_segmentation.inference.contracts import YOLACT, contract_of
    model = ov.Core().read_model(exported.path)
    outputs = {port.any_name: list(port.shape) for port in model.outputs}
    assert contract_of({"image": [1, 3, *SIZE]}, outputs, "") is YOLACT
    anchors = 3 * (12 * 16 + 6 * 8 + 3 * 4 + 2 * 2 + 1)
    assert outputs == dict(boxes=[1, anchors, 4], conf=[1, anchors, 4], mask=[1, anchors, 32], proto=[1, 24, 32, 32])
    assert model.get_rt_info(["model_info", "model_type"]).value == "YOLACT"
    assert (exported.path.parent / "labels.txt").read_text().splitlines()[0] == "background"


def test_gate_compared_detections(exported):
    assert exported.parity.detections > 20 and exported.parity.box_px < 1e-2 and not exported.parity.unexplained


def test_gate_can_fail(network, exported):
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.parity import compare
    model, info = read_ir(exported.path)
    bias = network.bbox_head.conv_reg.bias
    kept = bias.detach().clone()
    bias.data += 0.05
    try:
        with pytest.raises(ExportError, match="boxes differ by"):
            compare(network, model, channel_order=info.channel_order).check()
    finally:
        bias.data.copy_(kept)


def test_the_same_outputs_in_onnx(exported, onnx_file):
    from instance_segmentation.inference.contracts import YOLACT
    from instance_segmentation.inference.exported import load_exported
    from instance_segmentation.ir.onnx_session import read_onnx
    run, info = read_onnx(onnx_file)
    ir = ov.Core().read_model(exported.path)
    assert run.shapes[1] == {port.any_name: list(port.shape) for port in ir.outputs} and info.classes == CLASSES
    assert run.session.get_modelmeta().custom_metadata_map["model_info model_type"] == "YOLACT"
    assert load_exported(onnx_file).contract is YOLACT


@pytest.mark.parametrize("kind", ["IR", "ONNX"])
@torch.inference_mode()
def test_checkpoint_and_exported_model_find_the_same_in_an_image(network, exported, onnx_file, kind):
    from instance_segmentation.ir.detector import ExportedDetector
    image, other = photo_like(SIZE, 7), ExportedDetector(exported.path if kind == "IR" else onnx_file)
    expected, found = (model.test_step(batch(image))[0].pred_instances for model in (network, other))
    assert len(expected) > 10 and found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.bboxes, expected.bboxes, atol=0.02)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert min(iou for iou, rle in zip(ious(found.masks, expected.masks), expected.masks, strict=True)
               if coco_mask.area(rle) > 50) > 0.98


@torch.inference_mode()
def test_mmdets_own_detections_are_among_ours(network):
    """Fast NMS keeps a part of what NMS keeps: the same boxes, with the same masks inside them."""
    from mmdet.registry import MODELS
    config = copy.deepcopy(network.cfg.model)
    config.type = "YOLACT"
    config.test_cfg.update(nms_pre=-1, top_k=1000, mask_thr=0.5, max_per_img=-1)
    theirs = MODELS.build(config).eval()
    theirs.load_state_dict(network.state_dict())
    data = theirs.data_preprocessor(batch(photo_like(SIZE, 7), SIZE))
    stock = theirs.predict(data["inputs"], data["data_samples"])[0].pred_instances
    ours = network.test_step(batch(photo_like(SIZE, 7), SIZE))[0].pred_instances
    lowest, seen = float(ours.scores.min()), 0
    for box, score, label, mask in zip(stock.bboxes, stock.scores, stock.labels, stock.masks, strict=True):
        if score > lowest + 1e-4:
            same = ((ours.bboxes - box).abs().amax(1) + (ours.scores - score).abs() < 1e-3) & (ours.labels == label)
            assert same.sum() == 1
            left, top, right, bottom = box.round().int().tolist()
            inside = np.zeros(SIZE, np.uint8)
            inside[top:bottom, left:right] = mask[top:bottom, left:right]  # theirs reach a prototype's pixel further
            rle = coco_mask.encode(np.asfortranarray(inside))
            if coco_mask.area(rle) > 200:
                seen += 1
                assert ious([ours.masks[int(same.nonzero()[0, 0])]], [rle])[0] > 0.85
    assert seen > 5


def test_validation_has_a_loss(network):
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData
    data = batch(photo_like(SIZE, 7))
    masks = np.zeros((1, *SIZE), np.uint8)
    masks[0, 20:60, 30:90] = 1
    data["data_samples"][0].gt_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 20, 90, 60]]), labels=torch.tensor([1]), masks=BitmapMasks(masks, *SIZE))
    data["data_samples"][0].ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    data = network.data_preprocessor(data)
    losses = network.loss(data["inputs"], data["data_samples"])
    assert {"loss_cls", "loss_bbox", "loss_mask", "loss_segm"} <= set(losses) and not network.mask_head.training


def test_rows_of_known_classes_are_carried_over(network):
    from instance_segmentation.engine.checkpoint import load_state
    other = small_network(("stone", "unicorn"), seed=1)
    load_state(other, network.state_dict(), CLASSES, ("stone", "unicorn"))
    ours, theirs = (model.bbox_head.conv_cls.weight.unflatten(0, (3, -1)) for model in (other, network))
    assert torch.equal(ours[:, [0, 2]], theirs[:, [2, 3]]) and not torch.equal(ours[:, 1], theirs[:, 1])


def test_what_cannot_be_exported_is_named(network):
    from instance_segmentation.ir.graph import build_ir
    network.test_cfg.iou_thr = 0.6
    try:
        with pytest.raises(ExportError, match="iou_thr and max_per_img: got 0.6 and 100, supported: 0.5 and 100"):
            build_ir(network)
    finally:
        network.test_cfg.iou_thr = 0.5
