"""A run that was cut off anywhere ends exactly like one that was not."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.fileio.backends import LocalBackend

from instance_segmentation.api import instantiate, train
from instance_segmentation.engine.runner import forget_after
from instance_segmentation.errors import TrainingError

pytestmark = pytest.mark.component
EPOCHS = 2
STEPS = 8  # 8 images, batch 2, 2 epochs


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return instantiate("efficientnet_b2b-mask_rcnn-480x480", tmp_path_factory.mktemp("work") / "w", load_snapshot=False)


def options(data, **changes):
    """Arguments of `train` for a run of seconds."""
    return dict(train_ann_files=[data / "train.json"], train_data_roots=[data / "train"], val_ann_files=[data / "val.json"],
                val_data_roots=[data / "val"], epochs=EPOCHS, batch_size=2, input_size=(64, 64), num_workers=0, seed=3,
                gpu_num=0, cfg_options={"train_dataloader.dataset.times": 1, "model.test_cfg.rcnn.score_thr": 0.0,
                                        "default_hooks.logger.interval": 1}) | changes


def flags(data, output):
    """The same as command line flags."""
    return ["--train-ann-files", data / "train.json", "--train-data-roots", data / "train", "--val-ann-files", data / "val.json",
            "--val-data-roots", data / "val", "--epochs", EPOCHS, "--batch-size", 2, "--input-size", 64, "--num-workers", 1,
            "--seed", 3, "--gpu-num", 0, "--save-checkpoints-to", output, "--save-every-minutes", 0, "--cfg-options",
            "train_dataloader.dataset.times=1", "model.test_cfg.rcnn.score_thr=0.0", "default_hooks.logger.interval=1"]


@pytest.fixture(scope="module")
def uninterrupted(work, sample_data, tmp_path_factory):
    output = tmp_path_factory.mktemp("uninterrupted")
    train(work, **options(sample_data), save_checkpoints_to=output)
    return output


def scalars(output):
    """Everything that scalars.json says, but for the times."""
    lines = [json.loads(line) for line in (output / "scalars.json").read_text().splitlines()]
    return [{key: repr(value) for key, value in line.items() if "time" not in key} for line in lines]


def state(output):
    return torch.load(output / "latest.pth", weights_only=True)


def assert_same(output, expected):
    assert scalars(output) == scalars(expected)
    ours, theirs = state(output), state(expected)
    assert all(torch.equal(ours["state_dict"][name], tensor) for name, tensor in theirs["state_dict"].items())
    assert ours["param_schedulers"] == theirs["param_schedulers"]
    for key, moments in theirs["optimizer"]["state"].items():
        assert all(torch.equal(ours["optimizer"]["state"][key][name], value) for name, value in moments.items())


def begin(work, data, output):
    """Start a training in another process, which saves after every step, and wait until some steps are logged."""
    process = subprocess.Popen([sys.executable, "-m", "instance_segmentation", "train", *map(str, [work, *flags(data, output)])],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and (not (output / "scalars.json").is_file() or len(scalars(output)) < 2):
        time.sleep(0.05)
    return process


def test_a_killed_run_continues_to_the_same_end(work, sample_data, uninterrupted, tmp_path):
    process = begin(work, sample_data, tmp_path)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stdout.read()
    assert 0 < state(tmp_path)["meta"]["iter"] < STEPS
    train(work, **options(sample_data, seed=None), save_checkpoints_to=tmp_path, resume_from="auto")
    assert_same(tmp_path, uninterrupted)


def test_ctrl_c_saves_and_exits_130(work, sample_data, uninterrupted, tmp_path):
    process = begin(work, sample_data, tmp_path)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert "--resume-from auto" in text and "Traceback" not in text
    assert state(tmp_path)["meta"]["iter"] <= STEPS
    train(work, **options(sample_data), save_checkpoints_to=tmp_path, resume_from=tmp_path / "latest.pth")
    assert_same(tmp_path, uninterrupted)


def test_a_full_disk_keeps_the_last_good_checkpoint(work, sample_data, uninterrupted, tmp_path, monkeypatch):
    put, calls = LocalBackend.put, []

    def full(self, content, path):
        calls.append(path)
        if len(calls) == 4:
            put(self, content[:1000], path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        put(self, content, path)

    monkeypatch.setattr(LocalBackend, "put", full)
    with pytest.raises(TrainingError, match="disk is full.*--resume-from auto"):
        train(work, **options(sample_data), save_checkpoints_to=tmp_path)
    assert state(tmp_path)["meta"]["iter"] == STEPS // 2
    assert not list(tmp_path.glob("*.tmp"))
    train(work, **options(sample_data), save_checkpoints_to=tmp_path, resume_from="auto")
    assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize("changes, message", [
    (dict(seed=4), "seed 3, --seed says 4"),
    (dict(classes=["berry"]), "--load-weights"),
], ids=["seed", "classes"])
def test_another_run_is_not_continued(work, sample_data, uninterrupted, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        train(work, **options(sample_data, **changes), save_checkpoints_to=tmp_path, resume_from=uninterrupted / "latest.pth")


def test_a_new_run_sets_the_old_one_aside(work, sample_data, uninterrupted, tmp_path):
    for name in ("latest.pth", "scalars.json"):
        os.link(uninterrupted / name, tmp_path / name)
    train(work, **options(sample_data, epochs=1), save_checkpoints_to=tmp_path, load_weights=tmp_path / "latest.pth")
    assert (tmp_path / "previous_latest.pth").samefile(uninterrupted / "latest.pth")
    assert (tmp_path / "previous_scalars.json").samefile(uninterrupted / "scalars.json")
    assert state(tmp_path)["meta"]["epoch"] == 1


def test_what_comes_after_the_checkpoint_is_forgotten(tmp_path):
    lines = ['{"lr": 0.1, "step": 4}', '{"segm/AP": 0.5, "step": 1}', '{"lr": 0.1, "step": 5}', '{"segm/AP": 0.6, "step": 2}',
             '{"lr": 0.1, "st']
    (tmp_path / "s.json").write_text("\n".join(lines))
    forget_after(tmp_path / "s.json", step=4, epoch=1)
    assert (tmp_path / "s.json").read_text().splitlines() == lines[:2]
