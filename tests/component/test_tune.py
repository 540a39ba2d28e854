"""A search: what it draws, keeps and throws away, what ends a trial, and what ends the search."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from instance_segmentation.api import train, tune
from instance_segmentation.cli.train import parser
from instance_segmentation.engine.pruning import falls_behind, open_study
from instance_segmentation.errors import DatasetError, DiskFullError, TemplateError, TrainingError
from instance_segmentation.training.tuning import alone

from .test_resume import SMALL, options, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component
trials_of_a_search = pytest.importorskip("instance_segmentation.training.search", reason="needs the extra [tune]")
QUICK = {key: value for key, value in SMALL.items() if "pipeline" not in key}  # its place depends on the augmentation
SPACE = dict(learning_rates=(1e-4, 1e-3), epochs=[2], augment=["light", "mosaic"])


def search(work, data, folder, **changes):  # noqa: F811
    fixed = options(data, ema=False, accumulate=None, balance_classes=False, overlap=0.25, cfg_options=QUICK)
    fixed = {key: value for key, value in fixed.items() if key not in SPACE}
    return tune(work, **{**fixed, **SPACE, "save_search_to": folder, **changes})


def records(folder):
    return json.loads((folder / "trials.json").read_text())


@pytest.fixture
def in_process(monkeypatch):
    """Trials are trained in this process: to start another takes seconds."""
    monkeypatch.setattr("instance_segmentation.training.search.launch",
                        lambda number, work_dir, options: train(work_dir, **options))


@pytest.fixture
def scripted(monkeypatch):
    """Trainings that do as they are told: raise an error, or report segm AP epoch by epoch. Returns how they were called."""
    import optuna

    def prepare(*outcomes):
        calls = []

        def launch(processes, work_dir, options):
            outcome = outcomes[len(calls)]
            calls.append(options)
            if not isinstance(outcome, list):
                raise outcome
            trial = optuna.Trial(open_study(options["search"]["file"]), options["search"]["trial_id"])
            for epoch, segm_ap in enumerate(outcome, 1):
                trial.report(segm_ap, epoch)
            options["save_checkpoints_to"].mkdir()
            for name in ("best.pth", "latest.pth"):
                (options["save_checkpoints_to"] / name).write_text(f"weights of AP {max(outcome)}")

        monkeypatch.setattr("instance_segmentation.training.search.launch", launch)
        return calls
    return prepare


def test_failed_and_pruned_trials_are_recorded_and_the_best_checkpoint_is_kept(work, tmp_path, scripted, capsys):  # noqa: F811
    outcomes = [0.1, 0.2], TrainingError("the loss is nan"), [0.5, 0.4], [0.05], TrainingError("memory is exhausted"), [0.3, 0.3]
    calls = scripted(*outcomes)
    result = search(work, tmp_path, tmp_path / "s", trials=6)
    assert (result.trial, result.segm_ap, result.checkpoint.read_text()) == (3, 0.5, "weights of AP 0.5")
    assert [path.relative_to(tmp_path / "s").as_posix() for path in tmp_path.rglob("*.pth")] == ["best.pth"]
    assert [trial["ended"] for trial in records(tmp_path / "s")] == [
        "", "failed: the loss is nan", "best", "pruned after epoch 1", "failed: memory is exhausted", ""]
    assert [trial["segm_ap"] for trial in records(tmp_path / "s")] == [0.2, None, 0.5, 0.05, None, 0.3]
    assert (tmp_path / "s" / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert calls[0]["base_learning_rate"] == pytest.approx(0.001 / 2 ** 0.5) and calls[0]["augment"] == "light", "the usual"
    assert len({call["base_learning_rate"] for call in calls}) == 6
    out = capsys.readouterr().out
    first = next(line for line in out.splitlines() if line.split()[-1:] == ["best"])
    assert first.split()[0] == "3" and f"--base-learning-rate {calls[2]['base_learning_rate']!r}" in out


def test_the_printed_command_trains_the_same(tmp_path):
    own = dict(train_ann_files=["a b.json", "c.json"], train_data_roots=["d"], val_ann_files=["e.json"], val_data_roots=["f"],
               classes=["it's one", "two"], input_size=(64, 96), norm_eval=False, ema=True, keep_empty=False, seed=0, gpu_num=0,
               base_learning_rate=0.1 + 0.2, epochs=3, augment="copy-paste", clip_grad=None,
               cfg_options={"a.b": [24, 48], "c": {"type": "SGD", "lr": 0.5}, "d": "a, b", "e": True, "f": None})
    python, script, *words = shlex.split(trials_of_a_search.train_command(tmp_path / "train.py", own))
    parsed = vars(parser("w").parse_args(words))
    assert (python, script) == ("python", str(tmp_path / "train.py")) and {key: parsed[key] for key in own} == own


@pytest.mark.parametrize("error, same", [(DatasetError("no such file"), True), (DiskFullError("full"), True),
                                         (KeyboardInterrupt(), True), (TrainingError("bad"), False)],
                         ids=["data", "disk", "Ctrl-C", "failed"])
def test_a_trial_that_was_cut_off_goes_on_and_a_failed_one_does_not(work, tmp_path, scripted, error, same):  # noqa: F811
    calls = scripted([0.1, 0.1], error, [0.2, 0.2])
    if same:
        with pytest.raises(type(error)):
            search(work, tmp_path, tmp_path / "s", trials=2)
    assert search(work, tmp_path, tmp_path / "s", trials=2 if same else 3).segm_ap == 0.2
    assert len(records(tmp_path / "s")) == len(calls) - same
    assert (calls[2]["save_checkpoints_to"] == calls[1]["save_checkpoints_to"]) == same
    assert (calls[2]["base_learning_rate"] == calls[1]["base_learning_rate"]) == same


def test_it_gives_up_when_nothing_but_failures_comes(work, tmp_path, scripted):  # noqa: F811
    calls = scripted([0.1, 0.1], *(TrainingError(f"number {index}") for index in range(9)))
    with pytest.raises(TrainingError, match="3 trials failed one after the other, the last: number 2"):
        search(work, tmp_path, tmp_path / "s", trials=9)
    assert len(calls) == 4


def test_after_the_timeout_no_trial_begins(work, tmp_path, scripted):  # noqa: F811
    calls = scripted([0.1, 0.1])
    with pytest.raises(TrainingError, match="no trial was trained"):
        search(work, tmp_path, tmp_path / "s", trials=1, timeout=0)
    assert not calls


@pytest.mark.parametrize("changes, error, message", [
    (dict(seed=4), TrainingError, "begun with seed 3, not 4; repeat its flags"),
    (dict(epochs=[2, 3]), TrainingError, r"begun with epochs \[2\], not \[2, 3\]"),
    (dict(augment=["mosaics"]), TemplateError, "--augment: got 'mosaics'"),
    (dict(learning_rates=(0.1, 0.01)), TrainingError, "--learning-rates: got 0.1 0.01"),
    (dict(cfg_options={**QUICK, "optim_wrapper.optimizer.lr": 0.1}), TrainingError, "--cfg-options: sets the learning rate"),
    (dict(batch_size="auto"), TrainingError, "--batch-size auto"),
], ids=["seed", "epochs", "augmentation", "range", "fixed rate", "batch"])
def test_other_flags_are_refused(work, tmp_path, scripted, changes, error, message):  # noqa: F811
    calls = scripted([0.1, 0.1])
    search(work, tmp_path, tmp_path / "s", trials=1)
    with pytest.raises(error, match=message):
        search(work, tmp_path, tmp_path / "s", trials=2, **changes)
    assert len(calls) == 1


def test_one_search_at_a_time(work, tmp_path):  # noqa: F811
    with alone(tmp_path), pytest.raises(TrainingError, match="a search is running there"):
        search(work, tmp_path, tmp_path)


def test_a_trial_that_falls_behind_is_ended(work, sample_data, tmp_path, in_process):  # noqa: F811
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import create_trial
    study = open_study(tmp_path / "search.db")
    for _ in range(3):
        study.add_trial(create_trial(
            params=dict(base_learning_rate=1e-3, epochs=4, augment="light"), value=0.9,
            distributions=dict(base_learning_rate=FloatDistribution(1e-4, 1e-3, log=True), epochs=CategoricalDistribution([4]),
                               augment=CategoricalDistribution(["light"])),
            intermediate_values=dict.fromkeys(range(1, 5), 0.9)))
    search(work, sample_data, tmp_path, trials=4, epochs=[4], augment=["light"])
    assert records(tmp_path)[3]["ended"] == "pruned after epoch 2"
    lines = [json.loads(line) for line in (tmp_path / "trial_004" / "scalars.json").read_text().splitlines()]
    assert [line["step"] for line in lines if "segm/AP" in line] == [1, 2]


def add_trial(study, epochs, curve, state="COMPLETE"):
    """Add a trial with the segm AP of its epochs; returns its number."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial
    study.add_trial(create_trial(state=TrialState[state], params=dict(epochs=epochs),
                                 distributions=dict(epochs=CategoricalDistribution([4, 16])),
                                 value=max(curve) if state == "COMPLETE" else None,
                                 intermediate_values=dict(enumerate(curve, 1))))
    return len(study.trials) - 1


def test_a_longer_recipe_is_not_judged_by_shorter_ones(tmp_path):
    """Curves of the sample data: it warms up longer, is behind after two epochs, and finds three times as much in the end."""
    short, long = [0.001, 0.076, 0.145, 0.164], [0.000, 0.030, 0.177, 0.242, 0.35, 0.571]
    study = open_study(tmp_path / "search.db")
    for share in (1, 0.99, 1.01):
        add_trial(study, 4, [share * ap for ap in short])
    for epochs in range(1, len(long) + 1):
        assert not falls_behind(study, add_trial(study, 16, long[:epochs], "RUNNING")), epochs


def test_a_recipe_is_judged_by_those_of_its_length(tmp_path):
    study = open_study(tmp_path / "search.db")
    for _ in range(2):
        add_trial(study, 4, [0.1, 0.2, 0.3, 0.4])
    behind, ahead = (add_trial(study, 4, [ap, ap], "RUNNING") for ap in (0.05, 0.25))
    assert not falls_behind(study, behind), "two are too few to judge by"
    add_trial(study, 4, [0.1, 0.2, 0.3, 0.4])
    assert falls_behind(study, behind) and not falls_behind(study, ahead)
    assert not falls_behind(study, add_trial(study, 4, [0.01], "RUNNING")), "the first epoch lies in the warm-up"


def begin(work, data, folder, log):  # noqa: F811
    """Start the search as a command; wait until its first trial is being trained."""
    command = [sys.executable, "-m", "instance_segmentation", "tune", work, "--train-ann-files", data / "train.json",
               "--train-data-roots", data / "train", "--val-ann-files", data / "val.json", "--val-data-roots", data / "val",
               "--batch-size", 2, "--input-size", 64, "--num-workers", 0, "--seed", 3, "--gpu-num", 0, "--trials", 2,
               "--learning-rates", 1e-4, 1e-3, "--epochs", 2, "--augment", "light", "mosaic", "--save-search-to", folder,
               "--cfg-options", *(f"{key}={value}" for key, value in QUICK.items())]
    scalars = folder / "trial_001" / "scalars.json"
    before = scalars.stat().st_mtime_ns if scalars.is_file() else 0
    with open(log, "w") as text:
        process = subprocess.Popen(list(map(str, command)), stdout=text, stderr=text, env=dict(os.environ, OMP_NUM_THREADS="1"))
    while process.poll() is None and (not scalars.is_file() or scalars.stat().st_mtime_ns == before):
        time.sleep(0.05)
    return process


@pytest.mark.nightly
def test_killed_and_interrupted_it_ends_like_an_uninterrupted_search(work, sample_data, tmp_path, in_process):  # noqa: F811
    output, log = tmp_path / "cut off", tmp_path / "log.txt"
    process = begin(work, sample_data, output, log)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert process.wait() == -signal.SIGKILL and family
    assert not psutil.wait_procs(family, timeout=20)[1], "the training would go on beside the next one"
    process = begin(work, sample_data, output, log)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert "the same command goes on where it stopped" in log.read_text() and "Traceback" not in log.read_text()
    result = search(work, sample_data, output, trials=2)
    expected = search(work, sample_data, tmp_path / "whole", trials=2)
    assert records(output) == records(tmp_path / "whole") and len(records(output)) == 2
    assert (result.trial, result.drawn) == (expected.trial, expected.drawn)
    ours, whole = (torch.load(each.checkpoint, weights_only=True)["state_dict"] for each in (result, expected))
    assert all(torch.equal(ours[name], tensor) for name, tensor in whole.items())
