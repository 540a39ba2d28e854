"""Two processes (gloo, on the CPU) train like one, stay equal, share the validation, and end together."""

import json
import pickle
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from instance_segmentation.api import instantiate, train
from instance_segmentation.coco import read_annotations
from instance_segmentation.data.sample import write_sample_dataset
from instance_segmentation.engine.config import read_config, set_rate
from instance_segmentation.errors import MissingExtraError, TrainingError
from instance_segmentation.evaluation import detect, load_for_test
from instance_segmentation.records.run_lock import read_lock
from instance_segmentation.training.processes import launch, launcher
from instance_segmentation.training.train import as_training_error, count_processes

from .test_resume import assert_same, flags, options, scalars, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component
HOOKS = [dict(type="ProgressHook"), dict(type="StopAtBadStep"), dict(type="FastSteps", precision="auto")]
WATCH = "tests.component.watching"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An odd number of validation images: the two processes do not get the same number."""
    return write_sample_dataset(tmp_path_factory.mktemp("data"), train=8, val=3, size_hw=(160, 192), seed=1)


def in_two(work, data, output, hooks=(), **changes):  # noqa: F811
    arguments = options(data, batch_size=1, nproc_per_node=2, **changes)
    arguments["cfg_options"] = arguments["cfg_options"] | {
        "custom_hooks": [*HOOKS, dict(type="EMAHook", update_buffers=True), *hooks],
        "val_evaluator.results_file": str(output / "results.json")}
    return train(work, **arguments, save_checkpoints_to=output)


@pytest.fixture(scope="module")
def uninterrupted(work, data, tmp_path_factory):  # noqa: F811
    output = tmp_path_factory.mktemp("two")
    result = in_two(work, data, output, [dict(type=f"{WATCH}.Digests", folder=str(output))])
    return SimpleNamespace(output=output, result=result)


def digests(output, rank):
    return (output / f"digests_{rank}.txt").read_text().splitlines()


def test_two_processes_hold_the_same_bits_after_every_step(uninterrupted):
    first, second = (digests(uninterrupted.output, rank) for rank in (0, 1))
    assert len(first) == 8 and first == second
    assert len({line.split()[1] for line in first}) == 8  # every step changes something


def test_one_of_them_writes_and_the_result_comes_back(uninterrupted):
    output = uninterrupted.output
    assert uninterrupted.result.latest == output / "latest.pth" and (output / "curves.png").is_file()
    lock = read_lock(output)
    assert lock["flags"]["nproc_per_node"] == 2 and "pytest" in lock["command"]  # what the user typed
    assert len(list(output.glob("*/*.log"))) == 1 and len(scalars(output)) == 8 + 2
    assert not (output / ".results").exists()


def test_no_image_is_counted_twice(uninterrupted, work, data):  # noqa: F811
    """What two processes found in three images is what one finds."""
    model, _ = load_for_test(uninterrupted.output / "latest.pth", work / "model.py", False)
    truth = read_annotations(data / "val.json", data / "val")
    _, expected = detect(model, read_config(work / "model.py"), truth)
    found = json.loads((uninterrupted.output / "results.json").read_text())
    assert len(found) == len(expected) > 0
    assert [item["image_id"] for item in found] == [item["image_id"] for item in expected]
    assert [item["score"] for item in found] == pytest.approx([item["score"] for item in expected], abs=1e-5)


@pytest.mark.parametrize("optimizer, ratio", [("SGD", 2.0), ("AdamW", 2 ** 0.5)])
def test_the_rate_is_that_of_the_images_of_all(config_480, optimizer, ratio):
    rates = []
    for processes in (1, 2):
        config_480.optim_wrapper.optimizer.update(type=optimizer, lr=0.01)
        set_rate(config_480, None, 0.01, 4, processes)
        rates.append(config_480.optim_wrapper.optimizer.lr)
    assert rates[1] / rates[0] == pytest.approx(ratio)


def test_a_bad_step_of_one_is_one_of_all_and_a_dead_one_ends_all(work, data, tmp_path, capfd):  # noqa: F811
    hooks = [dict(type=f"{WATCH}.Misfortune", rank=1, nan_at=2, end_at=3), dict(type=f"{WATCH}.Digests", folder=str(tmp_path))]
    with pytest.raises(TrainingError, match="process 2 of 2 was ended by SIGKILL.*--resume-from auto"):
        in_two(work, data, tmp_path, hooks, accumulate=None)
    text = capfd.readouterr().out
    assert text.count("Bad step") == 1 and "the loss is nan at step 2" in text and "back to step 0" in text
    named = text[text.index("Bad step"):].split("): back")[0]
    assert named.count(".jpg") >= 2  # each process's, and those that were mixed into them
    first, second = (digests(tmp_path, rank) for rank in (0, 1))
    assert first == second and [line.split()[0] for line in first] == ["1", "1", "2"]
    assert state(tmp_path)["message_hub"]["runtime_info"]["halvings"] == 1


@pytest.mark.nightly
@pytest.mark.timeout(240)
@pytest.mark.parametrize("accumulate", [None, 3])
def test_a_bad_step_of_one_does_not_end_the_run(work, data, tmp_path, accumulate):  # noqa: F811
    hooks = [dict(type=f"{WATCH}.Misfortune", rank=1, nan_at=3, end_at=0), dict(type=f"{WATCH}.Digests", folder=str(tmp_path))]
    in_two(work, data, tmp_path, hooks, accumulate=accumulate)
    assert digests(tmp_path, 0) == digests(tmp_path, 1)
    end = state(tmp_path)
    assert end["meta"]["iter"] == 8 and end["message_hub"]["runtime_info"]["halvings"] == 1
    assert {int(moment["step"]) for moment in end["optimizer"]["state"].values()} == {-(-8 // (accumulate or 1))}


@pytest.fixture(scope="module")
def one_empty(tmp_path_factory):
    """Three validation images, of which the second is without objects: one process has more of them than the other."""
    folder = write_sample_dataset(tmp_path_factory.mktemp("one_empty"), train=4, val=3, size_hw=(160, 192), seed=1)
    content = json.loads((folder / "val.json").read_text())
    empty = content["images"][1]["id"]
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != empty]
    (folder / "val.json").write_text(json.dumps(content))
    return folder


SMALL_RESNET = {"model.backbone.depth": 50, "model.backbone.base_channels": 8, "model.neck.in_channels": [32, 64, 128, 256]}
FAMILIES = {"rtmdet-ins_tiny-640x640": {}, "instance-segmentation-security-0091": SMALL_RESNET,
            "point_rend_r50-800x1344": SMALL_RESNET, "yolact_r50-544x544": SMALL_RESNET}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("template", [pytest.param(name, marks=() if "rtmdet" in name else pytest.mark.nightly)
                                      for name in FAMILIES])
def test_every_family_trains_in_two_processes(one_empty, tmp_path, template):
    """To the end, with the same bits and frozen stages; the validation loss is that of one process: of each image by itself."""
    folder = instantiate(template, tmp_path / "work", load_snapshot=False)
    output, hooks = tmp_path / "two", [*HOOKS, dict(type=f"{WATCH}.Digests", folder=str(tmp_path))]
    common = options(one_empty, epochs=1, input_size=(96, 96), frozen_stages=2, ema=False, accumulate=None, augment="light",
                     balance_classes=False)
    common["cfg_options"] = {"default_hooks.logger.interval": 1, "train_dataloader.dataset.times": 1, **FAMILIES[template]}
    train(folder, **common | dict(batch_size=1, nproc_per_node=2, cfg_options=common["cfg_options"] | dict(custom_hooks=hooks)),
          save_checkpoints_to=output)
    first, second = (digests(tmp_path, rank) for rank in (0, 1))
    assert first == second and len(first) == 2
    losses = {key: float(value) for key, value in scalars(output)[-1].items() if "loss" in key}
    assert losses["val_loss"] == pytest.approx(alone_loss(folder, common, output, tmp_path / "one"), rel=1e-5)


def alone_loss(folder, common, finished, output):
    """The validation loss of a finished run in one process, which goes on with its last validation."""
    checkpoint = state(finished)
    checkpoint["message_hub"]["runtime_info"]["validated_epoch"] = 0
    output.mkdir()
    torch.save(checkpoint, output / "latest.pth")
    train(folder, **common | dict(batch_size=2, seed=None, resume_from="auto"), save_checkpoints_to=output)
    return float(scalars(output)[-1]["val_loss"])


@pytest.mark.nightly
def test_after_ctrl_c_two_processes_go_on_to_the_same_end(uninterrupted, work, data, tmp_path):  # noqa: F811
    output, log = tmp_path / "o", tmp_path / "log.txt"
    arguments = flags(data, output)
    arguments[arguments.index("--batch-size") + 1] = 1
    command = [sys.executable, "-m", "instance_segmentation", "train", work, *arguments, "--nproc-per-node", 2]
    with open(log, "w") as text, subprocess.Popen(list(map(str, command)), stdout=text, stderr=text) as process:
        while process.poll() is None and (not (output / "scalars.json").is_file() or len(scalars(output)) < 2):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
    assert log.read_text().count("--resume-from auto") == 1 and "Traceback" not in log.read_text()
    assert 0 < state(output)["meta"]["iter"] < 8
    in_two(work, data, output, seed=None, resume_from="auto")
    assert_same(output, uninterrupted.output)


@pytest.mark.parametrize("variables, expected", [
    ({}, "none"), (dict(RANK="1", WORLD_SIZE="2"), "pytorch"), (dict(SLURM_NTASKS="4"), "none"),
    (dict(SLURM_NTASKS="4", SLURM_STEP_NUM_TASKS="4"), "slurm")], ids=["alone", "torchrun", "salloc's shell", "srun"])
def test_how_a_process_was_started(monkeypatch, variables, expected):
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launcher() == expected


def test_numbers_that_cannot_be():
    with pytest.raises(TrainingError, match="--nproc-per-node 3 is for the CPU"):
        count_processes(2, 3)
    with pytest.raises(TrainingError, match="--gpu-num 512: there are"):
        launch(512, "work", dict(gpu_num=512))


def test_the_error_of_a_process_keeps_its_kind():
    error = pickle.loads(pickle.dumps(MissingExtraError("train", "Training")))
    assert type(error) is MissingExtraError and "instance-segmentation[train]" in str(error)


def test_a_lost_connection_is_said_in_words():
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242")
    assert "another process of this training ended" in str(as_training_error(lost, 4, "outputs"))
