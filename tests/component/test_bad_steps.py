"""NaN and exploding losses: which images, back to the last good state, half the rate, an end to it."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS

from instance_segmentation.api import train
from instance_segmentation.engine.bad_steps import EXPLODED, BadStep, StopAtBadStep
from instance_segmentation.errors import TrainingError

from .test_resume import options, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component


@HOOKS.register_module()
class Spoil(Hook):
    """Make the loss of the named steps NaN, each as often as it is named."""

    priority = "VERY_HIGH"

    def __init__(self, steps):
        self.steps = list(steps)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 in self.steps:
            self.steps.remove(runner.iter + 1)
            runner.message_hub.get_scalar("train/loss")._log_history[-1] = math.nan


def spoiled(data, steps, **changes):
    """Options of a run in which steps go wrong."""
    hooks = [dict(type="ProgressHook"), dict(type="StopAtBadStep"), dict(type="Spoil", steps=steps)]
    arguments = options(data, **dict(epochs=1, batch_size=4, ema=False, accumulate=None) | changes)
    if arguments["ema"]:
        hooks.append(dict(type="EMAHook", update_buffers=True))
    return arguments | dict(cfg_options=arguments["cfg_options"] | dict(custom_hooks=hooks))


def test_a_bad_step_names_its_images_and_the_run_recovers(work, sample_data, tmp_path, capsys):  # noqa: F811
    train(work, **spoiled(sample_data, [2]), save_checkpoints_to=tmp_path)
    text = capsys.readouterr().out
    named = re.findall(r"\d+\.jpg", text)
    assert "the loss is nan at step 2" in text and 4 <= len(named) == len(set(named)) and "back to step 0" in text
    end = state(tmp_path)
    assert end["meta"]["iter"] == 2 and end["message_hub"]["runtime_info"]["halvings"] == 1
    assert end["optimizer"]["param_groups"][0]["initial_lr"] == 0.001 / 2
    assert {tuple(scheduler["base_values"]) for scheduler in end["param_schedulers"]} == {(0.001 / 2,)}


@pytest.mark.parametrize(("accumulate", "ema"), [(2, False), pytest.param(3, True, marks=pytest.mark.nightly)])
def test_accumulated_batches_are_counted_from_where_it_goes_back_to(work, sample_data, tmp_path, capsys, accumulate, ema):  # noqa: F811
    """Updates come at the same steps again, and the last of them at the end of the run."""
    train(work, **spoiled(sample_data, [3], batch_size=1, accumulate=accumulate, ema=ema), save_checkpoints_to=tmp_path)
    assert "the loss is nan at step 3" in capsys.readouterr().out
    end = state(tmp_path)
    assert end["meta"]["iter"] == 8 and not end["gradients"]
    (updates,) = {int(moment["step"]) for moment in end["optimizer"]["state"].values()}
    assert updates == -(-8 // accumulate)


def test_it_gives_up_and_keeps_the_last_good_state(work, sample_data, tmp_path):  # noqa: F811
    with pytest.raises(TrainingError, match=r"nan at step 1.*halved 1 times \(--max-rollbacks\).*\.jpg.*step 0"):
        train(work, **spoiled(sample_data, [1, 1], max_rollbacks=1), save_checkpoints_to=tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in state(tmp_path)["state_dict"].values())


def look(losses, weight=1.0, updates=True):
    """Show the hook one step of a run with these losses and weights."""
    model, hook = torch.nn.BatchNorm1d(1), StopAtBadStep()
    model.running_var.fill_(weight)
    hook.before_train_epoch(None)
    hook.after_train_iter(SimpleNamespace(
        model=model, optim_wrapper=SimpleNamespace(should_update=lambda: updates),
        message_hub=SimpleNamespace(get_scalar=lambda key: HistoryBuffer(losses, [1] * len(losses)))),
        0, dict(data_samples=[SimpleNamespace(img_path="a.jpg")]))
    return hook.images


@pytest.mark.parametrize("losses, weight, what", [
    ([1.0, math.inf], 1.0, "the loss is inf"),
    ([2.0] * 20 + [2.1 * EXPLODED], 1.0, "50 times what it was"),
    ([1.0, 1.0], math.nan, "no longer finite"),
], ids=["infinite", "exploding", "running statistics"])
def test_a_bad_step_is_seen_at_once(losses, weight, what):
    with pytest.raises(BadStep, match=what) as caught:
        look(losses, weight)
    assert caught.value.images == ["a.jpg"]


@pytest.mark.parametrize("losses", [[2.0] * 20 + [1.9 * EXPLODED], [0.001, 5.0]], ids=["a spike", "the first steps"])
def test_a_sound_step_passes(losses):
    assert look(losses) == []
    assert look(losses, updates=False) == ["a.jpg"]  # kept until the weights are updated
