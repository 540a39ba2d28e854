"""Faster training steps compute what mmdet's do."""

import copy

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData

from instance_segmentation.engine.fast_steps import hasten, multiplies_bfloat16
from instance_segmentation.engine.roi_align import SparseRoIAlign
from instance_segmentation.errors import TemplateError
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component


def random_boxes(number, side, seed=0):
    """[number, 5] boxes of all sizes, some of which reach over the edge of the image."""
    random = torch.Generator().manual_seed(seed)
    centre, half = torch.rand(number, 2, generator=random) * side, torch.rand(number, 2, generator=random) ** 2 * side / 2 + 0.01
    return torch.cat([torch.arange(number)[:, None] % 2, centre - half, centre + half], 1)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 32])
def test_sparse_roi_align_is_roi_align(scale):
    random = torch.Generator().manual_seed(1)
    features = torch.randn(2, 8, int(96 * scale), int(128 * scale), generator=random, requires_grad=True)
    boxes = random_boxes(60, 128)
    expected = RoIAlign(7, scale, 0)(features, boxes)
    gradient = torch.randn(expected.shape, generator=random)
    (wanted,) = torch.autograd.grad(expected, features, gradient)
    found = SparseRoIAlign(7, scale)(features, boxes)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(torch.autograd.grad(found, features, gradient)[0], wanted, atol=1e-4)


def test_no_box_and_an_empty_box_pool_to_nothing():
    features = torch.ones(1, 3, 8, 8, requires_grad=True)
    pooled = SparseRoIAlign(7, 0.25)(features, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 7, 7)
    empty = torch.tensor([[0.0, 4, 4, 4, 4]])
    assert torch.equal(SparseRoIAlign(7, 0.25)(features, empty), RoIAlign(7, 0.25, 0)(features, empty))


@pytest.fixture
def network():
    """In training mode, but for the normalisation: the weights are scaled for its running statistics."""
    model = speaking_network(["a", "b"], (96, 96)).train()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.eval()
    return model


@pytest.fixture
def training_batch():
    """Two images with two rectangles each, as the loader hands them on."""
    boxes = torch.tensor([[8.0, 10, 50, 60], [40, 30, 90, 80]])
    outlines = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])] for x1, y1, x2, y2 in boxes.tolist()]
    sample = DetDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0), img_id=1))
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]), masks=PolygonMasks(outlines, 96, 96))
    images = [torch.from_numpy(photo_like((96, 96), seed).transpose(2, 0, 1).copy()) for seed in (5, 6)]
    return dict(inputs=images, data_samples=[sample, copy.deepcopy(sample)])


def losses_and_gradients(network, batch):
    """Of one training step with the same random samples."""
    torch.manual_seed(0)
    data = network.data_preprocessor(copy.deepcopy(batch), True)
    total, parts = network.parse_losses(network.loss(data["inputs"], data["data_samples"]))
    total.backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    losses = {name: float(value.detach()) for name, value in parts.items() if "loss" in name}
    return losses, gradients  # not the accuracy, which rounding moves by whole boxes


@pytest.mark.parametrize(("precision", "loss", "direction"), [("float32", 1e-4, 0.9999), ("bfloat16", 0.03, 0.98)])
def test_a_step_has_the_same_losses_and_gradients(network, training_batch, precision, loss, direction):
    if precision == "bfloat16" and not multiplies_bfloat16("cpu"):
        pytest.skip("this processor emulates bfloat16")
    fast = copy.deepcopy(network)
    assert hasten(fast, "cpu", precision) == precision
    wanted, gradient = losses_and_gradients(network, training_batch)
    found, other = losses_and_gradients(fast, training_batch)
    assert found == pytest.approx(wanted, rel=loss, abs=loss)
    assert torch.cosine_similarity(gradient, other, dim=0) > direction


@pytest.mark.parametrize("training", [True, False])
def test_mmcv_pools_the_same_from_channels_last(network, training_batch, training):
    """As on a GPU: mmcv's RoIAlign reads channels-last features in the wrong order, whether it trains or validates."""
    fast = copy.deepcopy(network)
    hasten(fast, "cpu", "float32", sparse_roi_align=False)
    features, rois = torch.randn(1, 80, 24, 24), torch.tensor([[0.0, 8, 10, 50, 60]])
    wanted, found = (one.train(training).roi_head.bbox_roi_extractor.roi_layers[0](
        features.contiguous(memory_format=order), rois) for one, order in (
            (network, torch.contiguous_format), (fast, torch.channels_last)))
    assert torch.equal(wanted, found)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_deformable_convolution(precision):
    from mmcv.ops import ModulatedDeformConv2dPack
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), ModulatedDeformConv2dPack(8, 8, 3, padding=1)).train()
    fast, image = copy.deepcopy(plain), torch.rand(1, 3, 12, 12)
    plain.extract_feat, fast.extract_feat = plain.forward, fast.forward
    hasten(fast, "cpu", precision)
    torch.testing.assert_close(fast.extract_feat(image), plain(image), **dict(
        float32=dict(rtol=1e-4, atol=1e-5), bfloat16=dict(rtol=0.05, atol=0.02))[precision])
    fast.extract_feat(image).sum().backward()


def test_a_frozen_deformable_convolution_takes_bfloat16():
    """Frozen stages are in evaluation mode inside a network that trains; mmcv has no bfloat16 there either."""
    from instance_segmentation.engine.deform_conv import TraceableDeformConv
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), TraceableDeformConv(8, 8, 3, padding=1, bias=False)).train()
    network.requires_grad_(False)[1].eval()
    network.extract_feat, image = network.forward, torch.rand(1, 3, 12, 12)
    expected = network(image)
    hasten(network, "cpu", "bfloat16")
    torch.testing.assert_close(network.extract_feat(image), expected, rtol=0.05, atol=0.02)


@torch.no_grad()
def test_evaluation_stays_as_it_was(network, training_batch):
    fast = copy.deepcopy(network)
    hasten(fast, "cpu", "bfloat16", channels_last=False)
    wanted, found = network.eval().test_step(copy.deepcopy(training_batch)), fast.eval().test_step(copy.deepcopy(training_batch))
    for one, other in zip(wanted, found, strict=True):
        assert torch.allclose(one.pred_instances.bboxes, other.pred_instances.bboxes, atol=1e-3)
        assert one.pred_instances.masks == other.pred_instances.masks


def test_an_unknown_precision_is_refused():
    from instance_segmentation.engine.fast_steps import FastSteps
    with pytest.raises(TemplateError, match="expected one of auto"):
        FastSteps(precision="half")
