"""What several processes that train together need of a network, in a group of one process, which waits for itself alike."""

import copy

import pytest
import torch
from mmdet.utils import reduce_mean
from torch import nn

from instance_segmentation.engine.deform_conv import TraceableDeformConv
from instance_segmentation.engine.fast_steps import hasten
from instance_segmentation.engine.replicas import EqualReplicas, alone

pytestmark = pytest.mark.component


@pytest.fixture
def group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


class Trunk(nn.Module):
    """Layers in a row, of which the first may be frozen where backbones do it: when training begins."""

    def __init__(self, *layers, frozen=False):
        super().__init__()
        self.layers, self.frozen = nn.Sequential(*layers), frozen
        self.eval()

    def train(self, mode=True):
        super().train(mode)
        if self.frozen and mode:
            self.layers[0].eval().requires_grad_(False)
        return self

    def extract_feat(self, images):
        return self.layers(images)

    def forward(self, images):
        return self.extract_feat(images).square().mean()


def train_step(replicas, images):
    """As torch's wrapper does it, which EqualReplicas calls through mmengine's `train_step`."""
    replicas.module.zero_grad(set_to_none=True)
    nn.parallel.DistributedDataParallel.forward(replicas, images).backward()


def test_deformable_convolutions_have_their_gradients_from_the_first_step_on(group):
    """mmcv reads weights in another order than channels last, and torch's wrapper never learns of a later change."""
    torch.manual_seed(0)
    model = Trunk(nn.Conv2d(3, 8, 3), TraceableDeformConv(8, 12, 3, padding=1, bias=False), nn.Conv2d(12, 4, 3)).train()
    nn.init.normal_(model.layers[1].conv_offset.weight, std=0.1)
    plain, images = copy.deepcopy(model), torch.rand(2, 3, 16, 16)
    replicas = EqualReplicas(model, device_ids=None)
    hasten(model, "cpu", "float32")
    train_step(replicas, images)
    plain(images).backward()
    for ours, wanted in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, wanted.grad, rtol=1e-3, atol=1e-5)


def test_stages_that_freeze_when_training_begins_are_not_waited_for(group):
    model = Trunk(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), frozen=True)
    replicas = EqualReplicas(model, device_ids=None)
    assert all(parameter.requires_grad for parameter in model.parameters())  # the optimizer's groups are those of one process
    replicas.train()
    for _ in range(2):
        train_step(replicas, torch.rand(1, 3, 8, 8))
    assert [parameter.grad is None for parameter in model.parameters()] == [True, True, False, False]


def test_a_cpu_needs_no_synchronised_batch_norm(group):
    """mmdet's RTMDet has it as soon as there are several processes, and torch refuses it without GPUs."""
    model = Trunk(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4))
    replicas = EqualReplicas(model, device_ids=None)
    train_step(replicas, torch.rand(1, 3, 8, 8))
    assert model.layers[1].weight.grad is not None and "layers.1.running_mean" in model.state_dict()


def test_alone_a_loss_waits_for_nobody(group, monkeypatch):
    def meet(*_, **__):
        raise AssertionError("waits for the other processes")
    monkeypatch.setattr(torch.distributed, "all_reduce", meet)
    with pytest.raises(ZeroDivisionError), alone():
        assert reduce_mean(torch.tensor(3.0)) == 3
        raise ZeroDivisionError
    with pytest.raises(AssertionError, match="waits for the other"):
        reduce_mean(torch.tensor(3.0))
