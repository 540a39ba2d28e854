"""A run that was cut off anywhere ends exactly like one that was not."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.fileio.backends import LocalBackend

from instance_segmentation.api import instantiate, replay, train
from instance_segmentation.engine.runner import forget_after
from instance_segmentation.errors import TrainingError
from instance_segmentation.records.run_lock import read_lock

pytestmark = pytest.mark.component
EPOCHS = 2
STEPS = 8  # 8 images, batch 2, 2 epochs


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work dir; training in it takes one thread, because on pictures this small threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield instantiate("efficientnet_b2b-mask_rcnn-480x480", tmp_path_factory.mktemp("work") / "w", load_snapshot=False)
    torch.set_num_threads(threads)


SMALL = {"train_dataloader.dataset.dataset.dataset.pipeline.2.scales": [(64, 64), (96, 64)],  # each new size costs time to set up
         "train_dataloader.dataset.times": 1, "default_hooks.logger.interval": 1, "model.train_cfg.rpn_proposal.max_per_img": 50,
         "model.train_cfg.rcnn.sampler.num": 16, "model.test_cfg.rpn.max_per_img": 20, "model.test_cfg.rcnn.score_thr": 0.0}


def options(data, **changes):
    """Arguments of `train` for a run of seconds."""
    return dict(train_ann_files=[data / "train.json"], train_data_roots=[data / "train"], val_ann_files=[data / "val.json"],
                val_data_roots=[data / "val"], epochs=EPOCHS, batch_size=2, input_size=(64, 64), num_workers=0, seed=3,
                gpu_num=0, cfg_options=SMALL, ema=True, accumulate=3, augment="heavy", balance_classes=True) | changes


def flags(data, output):
    """The same as command line flags, but for the loader's process and the saving after every step."""
    return ["--train-ann-files", data / "train.json", "--train-data-roots", data / "train", "--val-ann-files", data / "val.json",
            "--val-data-roots", data / "val", "--epochs", EPOCHS, "--batch-size", 2, "--input-size", 64, "--num-workers", 1,
            "--seed", 3, "--gpu-num", 0, "--save-checkpoints-to", output, "--save-every-minutes", 0, "--ema", "--accumulate", 3,
            "--augment", "heavy", "--balance-classes",
            "--cfg-options",
            *(f"{key}={value}" for key, value in SMALL.items())]


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
    assert all(torch.equal(ours["ema_state_dict"][name], tensor) for name, tensor in theirs["ema_state_dict"].items())
    for key, moments in theirs["optimizer"]["state"].items():
        assert all(torch.equal(ours["optimizer"]["state"][key][name], value) for name, value in moments.items())


def interrupt(work, data, output, log, number, lines, more=(), whole_group=False):
    """Train in another process, which saves after every step, until so many lines are logged; then send it a signal.

    Returns its exit code. With `whole_group` the signal goes to its loader's processes, too.
    """
    command = [sys.executable, "-m", "instance_segmentation", "train", work, *flags(data, output), *more]
    one_thread = dict(os.environ, OMP_NUM_THREADS="1")
    with open(log, "w") as text, subprocess.Popen(list(map(str, command)), stdout=text, stderr=text, env=one_thread,
                                                 start_new_session=whole_group) as process:
        while process.poll() is None and (not (output / "scalars.json").is_file() or len(scalars(output)) < lines):
            time.sleep(0.05)
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        return process.wait(timeout=120)


def test_interrupted_and_killed_it_ends_like_an_uninterrupted_run(work, sample_data, uninterrupted, tmp_path):
    output, log = tmp_path / "o", tmp_path / "log.txt"
    assert interrupt(work, sample_data, output, log, signal.SIGINT, 1) == 130
    assert "--resume-from auto" in log.read_text() and "Traceback" not in log.read_text()
    step = state(output)["meta"]["iter"]
    assert 0 < step < STEPS
    assert interrupt(work, sample_data, output, log, signal.SIGKILL, step + 1, ["--resume-from", "auto"]) == -signal.SIGKILL
    assert step <= state(output)["meta"]["iter"] < STEPS
    train(work, **options(sample_data, seed=None), save_checkpoints_to=output, resume_from="auto")
    assert_same(output, uninterrupted)
    flags = read_lock(output)["flags"]
    assert flags["seed"] == 3 and "resume_from" not in flags


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_cluster_that_wants_its_machine_back_lets_the_step_be_saved(work, sample_data, tmp_path, number):
    """The signal goes to the loader's processes, too; exit code 128 + its number."""
    output, log = tmp_path / "o", tmp_path / "log.txt"
    assert interrupt(work, sample_data, output, log, number, 1, whole_group=True) == 128 + number, log.read_text()
    assert f"{number.name}" in log.read_text() and "--resume-from auto" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert 0 < state(output)["meta"]["iter"] < STEPS


def test_a_replay_ends_with_the_same_weights(work, uninterrupted, tmp_path, capsys):
    replay(uninterrupted, save_checkpoints_to=tmp_path / "again")
    assert_same(tmp_path / "again", uninterrupted)
    assert "every validation gave the same numbers to the last digit" in capsys.readouterr().out


def test_the_average_is_what_the_checkpoint_offers(uninterrupted):
    averaged, own = state(uninterrupted)["state_dict"], state(uninterrupted)["ema_state_dict"]
    name = "roi_head.bbox_head.fc_cls.weight"
    assert torch.isfinite(averaged[name]).all() and not torch.equal(averaged[name], own[f"module.{name}"])


def test_a_full_disk_keeps_the_last_good_checkpoint(work, sample_data, tmp_path, monkeypatch):
    put, calls = LocalBackend.put, []

    def full(self, content, path):
        calls.append(path)
        if len(calls) == 3:  # the first is the start, the second after the epoch, the third after its validation
            put(self, content[:1000], path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        put(self, content, path)

    monkeypatch.setattr(LocalBackend, "put", full)
    with pytest.raises(TrainingError, match="disk is full.*--resume-from auto"):
        train(work, **options(sample_data, epochs=1, batch_size=4), save_checkpoints_to=tmp_path)
    assert (state(tmp_path)["meta"]["epoch"], state(tmp_path)["meta"]["iter"]) == (1, 2)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_finished_run_goes_on_longer_and_with_another_batch(work, sample_data, tmp_path, capsys):
    """Steps of its last epoch are a multiple of the log's interval, and mmengine estimates the remaining time from them."""
    # the data set lies one level less deep without balancing
    small = {key.replace(".dataset.dataset.dataset.", ".dataset.dataset."): value for key, value in SMALL.items()}
    plain = dict(ema=False, accumulate=None, augment="light", balance_classes=False, cfg_options=small)
    train(work, **options(sample_data, epochs=1, **plain), save_checkpoints_to=tmp_path)
    longer = options(sample_data, epochs=4, batch_size=4, seed=None, **plain)
    train(work, **longer, save_checkpoints_to=tmp_path, resume_from="auto")
    said = capsys.readouterr().out
    assert "an epoch has 2 steps now, it had 4" in said and "the schedule is now that of 4 epochs" in said
    rates = [(line["step"], float(line["lr"])) for line in scalars(tmp_path) if "lr" in line]
    assert [step for step, _ in rates] == ["0", "1", "2", "2", "3", "4", "5", "6", "7", "8"]  # two of its four steps are one now
    base = rates[0][1] * math.sqrt(2)  # AdamW's rate for twice the images in an update
    assert rates[4][1] == pytest.approx(base * (0.01 + 0.99 * (1 + math.cos(math.pi * 2 / 8)) / 2), rel=0.05)
    assert [line["step"] for line in scalars(tmp_path) if "segm/AP" in line] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("changes, message", [
    (dict(seed=4), "seed 3, --seed says 4"),
    (dict(classes=["berry"]), "--load-weights"),
    (dict(ema=False), "add --ema"),
    (dict(augment="mosaic"), "made with --augment heavy; add --augment heavy"),
    (dict(balance_classes=False), "add --balance-classes"),
], ids=["seed", "classes", "average", "augmentation", "sampling"])
def test_another_run_is_not_continued(work, sample_data, uninterrupted, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        train(work, **options(sample_data, **changes), save_checkpoints_to=tmp_path, resume_from=uninterrupted / "latest.pth")


def test_what_comes_after_the_checkpoint_is_forgotten(tmp_path):
    lines = ['{"lr": 0.1, "step": 4}', '{"segm/AP": 0.5, "step": 1}', '{"lr": 0.1, "step": 5}', '{"segm/AP": 0.6, "step": 2}',
             '{"lr": 0.1, "st']
    (tmp_path / "s.json").write_text("\n".join(lines))
    forget_after(tmp_path / "s.json", step=4, epoch=1)
    assert (tmp_path / "s.json").read_text().splitlines() == lines[:2]
