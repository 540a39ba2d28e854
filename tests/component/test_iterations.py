"""A training that is counted in iterations: its schedule, and one from beginning to end."""

import json
from pathlib import Path

import pytest
import torch

from instance_segmentation.cli.segmentoly_train import main

pytestmark = pytest.mark.component


def rates(cfg):
    """The learning rate of every batch."""
    from mmengine.registry import PARAM_SCHEDULERS
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [PARAM_SCHEDULERS.build(dict(item, optimizer=optimizer)) for item in cfg.param_scheduler]
    found = []
    for _ in range(cfg.train_cfg.max_epochs * cfg.train_dataloader.sampler.images // cfg.train_dataloader.batch_size):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize(("method", "first"), [("linear", [0.5, 0.625, 0.75, 0.875, 1]), ("constant", [0.5, 0.5, 0.5, 0.5, 1])])
def test_schedule_counts_updates(config_480, method, first):
    """12 iterations of two batches of three images, validated every 5: three epochs of 4."""
    from instance_segmentation.engine.iterations import set_iterations
    config_480.train_dataloader.batch_size, config_480.optim_wrapper.accumulative_counts = 3, 2
    set_iterations(config_480, processes=1, number=12, validate_every=5, save_every=4, warmup_iters=2, warmup_factor=0.5,
                   warmup_method=method, drop_lr=[6, 9], gamma=0.1)
    assert config_480.train_cfg.max_epochs == 3 and config_480.train_dataloader.sampler.images == 4 * 2 * 3
    found = rates(config_480)
    assert len(found) == 24 and found[:5] == pytest.approx(first)
    assert found[11:13] == pytest.approx([1, 0.1]) and found[17:19] == pytest.approx([0.1, 0.01])


def test_epochs_of_any_length_draw_evenly():
    from instance_segmentation.engine.iterations import SizedSampler
    for images in (3, 25):
        drawn = [index for index, _ in SizedSampler(range(10), images, seed=0)]
        assert len(drawn) == images and {drawn.count(index) for index in range(10)} == ({0, 1} if images == 3 else {2, 3})


def test_a_run_goes_on_as_if_it_had_never_stopped(sample_data, tmp_path, capsys):
    data = [str(sample_data / f"{split}.json") for split in ("train", "val")]
    words = ["--model", "efficientnet_b2b-mask_rcnn-480x480", "--dataset", *data, "--nw", "0", "--bs", "2", "--bs_per_gpu", "1",
             "--max_iter", "4", "--test_interval", "2", "--checkpoint_interval", "3",
             "--display_interval", "1", "--drop_lr", "3", "--warmup_iters", "1", "--max_image_size", "64", "90",
             "--mean_pixel", "1", "2", "3"]
    runs = []
    for start in ([], ["--resume", "--load_ckpt"]):
        start += [str(runs[0] / "outputs/iter_3.pth")] if start else []
        assert main([*words, *start, "--output_dir", str(tmp_path / str(len(runs)))]) == 0
        runs.append(next((tmp_path / str(len(runs))).glob("*/*")))
    checkpoints = [torch.load(run / "outputs/latest.pth", weights_only=True) for run in runs]
    states = [checkpoint["state_dict"] for checkpoint in checkpoints]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    own = checkpoints[0]["meta"]["instseg"]
    assert own["input_size"] == [64, 96] and own["config"]["model"]["data_preprocessor"]["mean"] == [1.0, 2.0, 3.0]
    assert "4 iterations of 2 images" in capsys.readouterr().out
    lines = [json.loads(line) for line in (runs[0] / "outputs/scalars.json").read_text().splitlines()]
    assert len([line for line in lines if "lr" in line]) == 4 and list(Path(runs[0] / "outputs").rglob("events.out.tfevents*"))
    groups = checkpoints[0]["optimizer"]["param_groups"]
    assert {group["momentum"] for group in groups} == {0.9} and {round(group["lr"], 6) for group in groups} == {0.002, 0.004}
