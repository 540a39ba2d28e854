"""What only a GPU can show: the same numbers as the CPU, training to its end, NCCL, memory that runs out, speed."""

import copy
import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from instance_segmentation.api import instantiate, train
from instance_segmentation.coco import read_annotations
from instance_segmentation.data.sample import write_sample_dataset
from instance_segmentation.engine.batch_size import SIZES
from instance_segmentation.engine.config import read_config
from instance_segmentation.engine.fast_steps import hasten
from instance_segmentation.errors import TrainingError
from instance_segmentation.evaluation import detect, load_for_test
from instance_segmentation.training.devices import chosen_device
from tests.component.pretended_gpu import batch
from tests.component.speaking import photo_like, speaking_network
from tests.component.test_resume import SMALL, options, scalars, state

STEPS = 8  # 8 images, batch 2, 2 epochs
OPS = ("nms", "roi_align", "roi_align's gradient", "deform_conv", "modulated_deform_conv", "modulated_deform_conv's gradient")


def operation(name, device):
    """What an operation of mmcv gives on a device, on the CPU."""
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, nms, roi_align
    torch.manual_seed(0)
    image, weight, offset = torch.randn(2, 8, 40, 40), torch.randn(6, 8, 3, 3), torch.randn(2, 18, 40, 40)
    corner, size = torch.rand(1000, 2) * 300, torch.rand(1000, 2) * 80 + 5
    boxes, scores = torch.cat([corner, corner + size], 1), torch.rand(1000)
    rois = torch.cat([torch.arange(1000)[:, None] % 2, boxes], 1)
    image, weight, offset, boxes, scores, rois = (tensor.to(device) for tensor in (image, weight, offset, boxes, scores, rois))
    gradient = name.endswith("gradient")
    image.requires_grad_(gradient)
    found = {"nms": lambda: nms(boxes, scores, 0.5)[1],
             "roi_align": lambda: roi_align(image, rois, (7, 7), 1 / 8, 0, "avg", True),
             "deform_conv": lambda: deform_conv2d(image, offset, weight, 1, 1),
             "modulated_deform_conv": lambda: modulated_deform_conv2d(image, offset, offset[:, :9].sigmoid(), weight, None, 1, 1)
             }[name.split("'")[0]]()
    return (torch.autograd.grad(found.square().mean(), image)[0] if gradient else found).detach().cpu()


@pytest.mark.parametrize("name", OPS)
def test_mmcvs_operations_give_what_they_give_on_the_cpu(device, name, compiled_ops, record_property):
    wanted, found = operation(name, "cpu"), operation(name, device)
    difference = float((wanted - found).abs().max()) if wanted.shape == found.shape else float("inf")
    record_property("largest difference", difference)
    assert difference <= 2e-3 * float(wanted.abs().max())


@pytest.mark.parametrize("template, precision, tolerance", [
    ("480x480", "float32", 0.01), ("480x480", "bfloat16", 0.1),  # its speaking weights are too large for float16
    ("tiny-640x640", "float32", 0.01), ("tiny-640x640", "float16", 0.05),
    ("tiny-640x640", "bfloat16", 0.4)])  # rounded scores assign other cells to the objects
def test_a_step_has_the_cpus_losses(device, template, precision, tolerance, record_property):
    """In each precision, with objects and without; gradients are finite."""
    model = speaking_network(["a", "b"], (128, 128), template=template)
    fast = hastened(model, device, precision)
    for objects in (2, 0):
        data = batch(objects, outlines=True)
        data["inputs"] = [torch.from_numpy(photo_like((128, 128), seed).transpose(2, 0, 1).copy()) for seed in (5, 6)]
        wanted, found = (losses(one, data) for one in (model, fast))
        record_property(f"losses with {objects} objects, on the CPU in float32 and here", [wanted, found])
        assert found == pytest.approx(wanted, rel=tolerance, abs=tolerance)
        assert all(torch.isfinite(weight.grad).all() for weight in fast.parameters() if weight.grad is not None)


def hastened(model, device, precision):
    """A copy on the device, as it is trained."""
    fast = copy.deepcopy(model).to(device)
    hasten(fast, device, precision)
    return fast


def losses(model, data):
    """Of a training step whose layers normalise with what they have learnt; random samples are drawn on the CPU."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    model.zero_grad()
    torch.manual_seed(0)
    data = model.data_preprocessor(copy.deepcopy(data), True)
    total, parts = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    total.backward()
    return {name: float(value.detach()) for name, value in parts.items() if name.startswith("loss_")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sample_dataset(tmp_path_factory.mktemp("data"), train=8, val=4, size_hw=(160, 192), seed=1)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return instantiate("efficientnet_b2b-mask_rcnn-480x480", tmp_path_factory.mktemp("work") / "w", load_snapshot=False)


@pytest.fixture(scope="module")
def plain(gpu_num):
    """Arguments of `train` on this device for a run of seconds, without mixing images."""
    pipeline = {"train_dataloader.dataset.dataset.pipeline.2.scales": [(64, 64), (96, 64)]}
    small = {key: value for key, value in SMALL.items() if "pipeline" not in key}
    return dict(augment=None, balance_classes=False, accumulate=None, gpu_num=gpu_num, cfg_options=small | pipeline)


@pytest.fixture(scope="module")
def trained(work, data, plain, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    train(work, **options(data, **plain), save_checkpoints_to=output)
    return output


def training_losses(output):
    return [float(line["loss"]) for line in scalars(output) if "lr" in line]


def test_training_comes_to_its_end(trained, record_property):
    found = training_losses(trained)
    record_property("losses", found)
    assert len(found) == STEPS and np.isfinite(found).all() and state(trained)["meta"]["iter"] == STEPS


def test_an_interrupted_run_ends_like_an_uninterrupted_one(work, data, plain, trained, tmp_path, record_property):
    """To what a GPU's sums in changing order allow."""
    hooks = read_config(work / "model.py").custom_hooks + [dict(type="tests.gpu.hooks.InterruptAt", step=3)]
    cut = plain | dict(cfg_options=plain["cfg_options"] | {"custom_hooks": hooks})
    with pytest.raises(KeyboardInterrupt):
        train(work, **options(data, **cut), save_checkpoints_to=tmp_path)
    assert state(tmp_path)["meta"]["iter"] == 3
    train(work, **options(data, **plain, resume_from="auto"), save_checkpoints_to=tmp_path)
    wanted, found = training_losses(trained), training_losses(tmp_path)
    record_property("losses", [wanted, found])
    assert found == pytest.approx(wanted, rel=0.2)
    assert found[3] == pytest.approx(wanted[3], rel=0.05)  # the first step after it


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_the_bits(work, data, plain, precision, tmp_path, record_property):
    train(work, **options(data, **plain | dict(precision=precision)), save_checkpoints_to=tmp_path)
    found, saved = training_losses(tmp_path), state(tmp_path)["optimizer"]
    record_property("losses", found)
    record_property("scale", saved.get("loss_scaler", {}).get("scale"))
    assert len(found) == STEPS and np.isfinite(found).all() and ("loss_scaler" in saved) == (precision == "float16")


def test_the_largest_batch_is_found(work, data, plain, tmp_path, record_property):
    train(work, **options(data, **plain | dict(batch_size="auto", epochs=1, ema=False)), save_checkpoints_to=tmp_path)
    found = state(tmp_path)["meta"]["instseg"]["batch_size"]
    record_property("batch", found)
    assert found in SIZES and found > 1


def test_exhausted_memory_is_said_in_words(work, data, plain, device, tmp_path, monkeypatch):
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.3 * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    else:
        def exhausted(*more, **named):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        monkeypatch.setattr("mmdet.models.detectors.two_stage.TwoStageDetector.loss", exhausted)
    try:
        with pytest.raises(TrainingError, match="memory is exhausted with --batch-size 8.*--resume-from auto"):
            train(work, **options(data, **plain | dict(batch_size=8, input_size=(480, 480))), save_checkpoints_to=tmp_path)
    finally:
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)


def test_evaluation_finds_what_the_cpu_finds(work, data, trained, gpu_num, record_property):
    truth, cfg = read_annotations([data / "val.json"], [data / "val"]), read_config(work / "model.py")
    results = []
    for number in (0, gpu_num):
        model, _ = load_for_test(trained / "latest.pth", work / "model.py", False)
        with chosen_device(number):
            results.append(detect(model, cfg, truth))
    (wanted, boxes), (found, others) = results
    record_property("segm AP, on the CPU and here", [wanted["segm/AP"], found["segm/AP"]])
    record_property("detections", [len(boxes), len(others)])
    assert len(others) == pytest.approx(len(boxes), rel=0.02) and len(boxes) > 0
    scores = [sorted((item["score"] for item in one), reverse=True)[:20] for one in (boxes, others)]
    assert scores[1] == pytest.approx(scores[0], abs=0.01)
    assert found["segm/AP"] == pytest.approx(wanted["segm/AP"], abs=0.02)


def together(repo, number, *command):
    """Start a program as so many processes of torchrun; returns their (exit code, output, errors)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fixed = dict(WORLD_SIZE=str(number), LOCAL_WORLD_SIZE=str(number), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    started = [subprocess.Popen([sys.executable, *map(str, command)], cwd=repo, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=os.environ | fixed | dict(RANK=str(rank), LOCAL_RANK="0"))
               for rank in range(number)]
    outputs = [process.communicate(timeout=180) for process in started]
    return [(process.returncode, *output) for process, output in zip(started, outputs, strict=True)]


def test_a_training_alone_under_torchrun_takes_nccl(repo, device, gpu_num):
    code = f"""
import torch
from instance_segmentation.training.processes import from_first, joined
with joined({gpu_num}):
    number = torch.full((3,), 7.0, device="{device}")
    torch.distributed.all_reduce(number)
    print(torch.distributed.get_backend(), float(number.sum()), from_first(lambda: "made"))
"""
    ((code, output, errors),) = together(repo, 1, "-c", code)
    assert code == 0, errors
    assert output.split()[-3:] == ["nccl" if device == "cuda" else "gloo", "21.0", "made"]


@pytest.mark.parametrize("backend", ["nccl", "gloo"])
def test_two_processes_on_one_device_stay_equal(repo, device, backend, record_property):
    """NCCL may refuse two processes on one GPU; gloo carries CUDA's tensors, and shows what EqualReplicas does with them."""
    if backend == "nccl" and device == "cpu":
        pytest.skip("NCCL has no CPUs")
    (code, output, errors), (_, second, _) = together(repo, 2, "-m", "tests.gpu.processes_on_one_gpu", backend, device)
    if backend == "nccl" and code and "Duplicate GPU" in errors:
        record_property("refused", "Duplicate GPU detected")
        pytest.skip("NCCL does not let two processes share a GPU")
    assert code == 0, errors
    first, second = json.loads(output.splitlines()[-1]), json.loads(second.splitlines()[-1])
    assert first == second and first["sum"] == 3.0 and len(set(first["losses"])) == 3


def test_speed_beside_stock_mmdetection(repo, data, device, record_property, compiled_ops):
    few = ["--steps", 24, "--batch-size", 8] if device == "cuda" else ["--steps", 2, "--batch-size", 1]
    command = [sys.executable, "benchmarks/training.py", "--annotations", data / "train.json", "--images", data / "train", *few]
    found = subprocess.run(list(map(str, command)), cwd=repo, capture_output=True, text=True, timeout=400)
    assert found.returncode == 0, found.stderr
    lines = re.findall(r"^(stock|float32|auto) +[\d.]+ +([\d.]+)", found.stdout, re.MULTILINE)
    rates = {name: float(rate) for name, rate in lines}
    record_property("images per second", rates)
    assert set(rates) == {"stock", "float32", "auto"}
    assert device == "cpu" or rates["auto"] > 0.9 * rates["stock"]
