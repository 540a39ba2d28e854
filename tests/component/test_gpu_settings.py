"""What a GPU changes in a run, shown on a CPU: precision, scaled loss, loaders, cuDNN's search."""

import json
import os
from types import SimpleNamespace

import mmengine.device.utils
import pytest
import torch

from instance_segmentation.api import train
from instance_segmentation.engine import gpu, loss_scaling
from instance_segmentation.engine.config import read_config, train_config
from instance_segmentation.engine.fast_steps import best_precision
from instance_segmentation.engine.loss_scaling import ScaledOptimWrapper
from instance_segmentation.templates.catalogue import find_template

from .test_resume import options, scalars, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component


def a_gpu(monkeypatch, capability, bfloat16):
    """Let torch and mmengine report one."""
    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)


def run_config(name="efficientnet_b2b-mask_rcnn-480x480", **named):
    template = find_template(name)
    cfg = read_config(template.path / template.config)
    return train_config(cfg, train_json="t.json", val_json="v.json", images=8, classes=["a"], output="o", epochs=1, batch_size=2,
                        **named)


CARDS = {"P100": ((6, 0), False, "float32"), "V100": ((7, 0), False, "float16"), "T4": ((7, 5), False, "float16"),
         "A100": ((8, 0), True, "bfloat16"), "H200": ((9, 0), True, "bfloat16")}


@pytest.mark.parametrize("card", CARDS)
def test_each_card_computes_in_what_it_multiplies_fastest(monkeypatch, card):
    capability, bfloat16, precision = CARDS[card]
    a_gpu(monkeypatch, capability, bfloat16)
    assert best_precision("cuda") == precision
    cfg = run_config()
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == "FastSteps")
    assert hook.precision == precision  # decided once, for all processes
    assert (cfg.optim_wrapper.type == "ScaledOptimWrapper") == (precision == "float16")


def test_a_precision_can_be_asked_for_together_with_an_average():
    (hook,) = (hook for hook in run_config(ema=True, precision="float32").custom_hooks if hook.type == "FastSteps")
    assert hook.precision == "float32"


def test_the_loaders_keep_up_with_a_gpu_unless_told_otherwise(monkeypatch):
    a_gpu(monkeypatch, (8, 0), True)
    monkeypatch.setattr(gpu, "loader_workers", lambda batch_size, side: 6)
    loader = run_config().train_dataloader
    assert loader.num_workers == 6 and loader.pin_memory
    assert run_config(num_workers=1).train_dataloader.num_workers == 1
    loader = run_config(overrides={"train_dataloader.num_workers": 3, "train_dataloader.pin_memory": False}).train_dataloader
    assert loader.num_workers == 3 and not loader.pin_memory


def test_on_a_cpu_the_loaders_stay_the_templates():
    loader = run_config().train_dataloader
    assert loader.num_workers == 2 and not loader.get("pin_memory")


@pytest.mark.parametrize("variables, cores, room_mb, workers", [
    ({}, 16, 10_000, 8), ({}, 4, 10_000, 4), (dict(LOCAL_WORLD_SIZE="4"), 16, 10_000, 4),
    (dict(SLURM_CPUS_PER_TASK="6", LOCAL_WORLD_SIZE="4"), 6, 10_000, 6), ({}, 16, 64, 1)],
    ids=["eight at most", "few cores", "four processes", "srun gives each its cores", "a container's 64 MB"])
def test_loader_processes_have_cores_and_shared_memory(monkeypatch, variables, cores, room_mb, workers):
    for name in ("LOCAL_WORLD_SIZE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores))
    monkeypatch.setattr(gpu.shutil, "disk_usage", lambda path: SimpleNamespace(free=room_mb * 10**6))
    assert gpu.loader_workers(8, 480) == workers


@pytest.mark.parametrize("template, fixed", [("efficientnet_b2b-mask_rcnn-480x480", False), ("rtmdet-ins_tiny-640x640", True)])
def test_cudnn_looks_for_the_fastest_kernels_where_all_images_have_one_size(monkeypatch, template, fixed):
    a_gpu(monkeypatch, (8, 0), True)
    assert run_config(template).env_cfg.cudnn_benchmark is fixed


@pytest.fixture
def scaled():
    """One weight whose gradient is that of the loss, and its optimizer: 2 ** 14 is more than float16 holds after 2 ** 3."""
    weight = torch.nn.Parameter(torch.ones(1))
    return weight, ScaledOptimWrapper(torch.optim.SGD([weight], lr=0.5), scale=2.0 ** 14, clip_grad=dict(max_norm=10))


def take_step(weight, optimizer, gradient):
    """A step whose gradient passes through float16, as a layer's does."""
    optimizer.update_params((weight.half() * torch.tensor([gradient], dtype=torch.float16)).float().sum())
    return float(weight.detach())


def test_an_update_whose_gradients_overflow_is_left_out_and_the_scale_halved(scaled):
    weight, optimizer = scaled
    assert take_step(weight, optimizer, 8.0) == 1.0 and optimizer.scaler.get_scale() == 2.0 ** 13
    assert take_step(weight, optimizer, 8.0) == 1.0 and optimizer.scaler.get_scale() == 2.0 ** 12
    assert take_step(weight, optimizer, 8.0) == -3.0  # the true gradient, unscaled
    norms = optimizer.message_hub.get_scalar("train/grad_norm").data[0]
    assert norms[-1] == 8.0 and all(map(torch.isfinite, torch.tensor(norms)))


def test_a_resumed_run_keeps_the_scale(scaled):
    weight, optimizer = scaled
    take_step(weight, optimizer, 8.0)
    other = ScaledOptimWrapper(torch.optim.SGD([weight], lr=0.5))
    other.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    assert other.scaler.get_scale() == 2.0 ** 13


@pytest.mark.nightly  # processors emulate float16
def test_steps_that_the_scale_leaves_out_are_not_bad_ones(work, sample_data, tmp_path, capsys, monkeypatch):  # noqa: F811
    """A run in float16 whose scale is far too large at first: it goes down, training goes on, and a resume keeps it."""
    monkeypatch.setattr(loss_scaling, "START", 2.0 ** 40)
    train(work, **options(sample_data, precision="float16", accumulate=None, ema=False), save_checkpoints_to=tmp_path)
    assert "Bad step" not in capsys.readouterr().out
    saved = state(tmp_path)
    assert saved["meta"]["iter"] == 8 and 2.0 ** 30 <= saved["optimizer"]["loss_scaler"]["scale"] < 2.0 ** 40
    assert len(scalars(tmp_path)) == 8 + 2
