"""NaN and exploding losses: which images, back to the last good state, half the rate, an end to it."""

import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from instance_segmentation.api import train
from instance_segmentation.errors import TrainingError

from .test_resume import options, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component


@HOOKS.register_module()
class Spoil(Hook):
    """Spoil the named steps of a run, each as often as it is named; `what` is "loss", "blow" or "weights"."""

    priority = "VERY_HIGH"

    def __init__(self, steps, what):
        self.steps, self.what = list(steps), what

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.bad = runner.iter + 1 in self.steps
        if self.bad:
            self.steps.remove(runner.iter + 1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.bad and self.what == "weights":
            next(runner.model.parameters()).data.fill_(math.inf)
        elif self.bad:
            history = runner.message_hub.get_scalar("train/loss")
            history._log_history[-1] = math.nan if self.what == "loss" else 1e6


def spoiled(steps, what, **changes):
    """Options of a run in which steps go wrong."""
    hooks = [dict(type="ProgressHook"), dict(type="StopAtBadStep"), dict(type="Spoil", steps=steps, what=what)]
    return lambda data: options(data, **changes) | dict(cfg_options=options(data)["cfg_options"] | dict(custom_hooks=hooks))


@pytest.mark.parametrize("what, phrase", [("loss", "the loss is nan"), ("weights", "no longer finite")])
def test_a_bad_step_names_its_images_and_the_run_recovers(work, sample_data, tmp_path, capsys, what, phrase):  # noqa: F811
    train(work, **spoiled([2], what, epochs=1, batch_size=4)(sample_data), save_checkpoints_to=tmp_path)
    text = capsys.readouterr().out
    assert phrase in text and text.count(".jpg") == 4 and "back to step 0" in text
    end = state(tmp_path)
    assert end["meta"]["iter"] == 2 and all(torch.isfinite(tensor).all() for tensor in end["state_dict"].values())
    assert end["optimizer"]["param_groups"][0]["initial_lr"] == 0.001 / 2
    assert {tuple(scheduler["base_values"]) for scheduler in end["param_schedulers"]} == {(0.001 / 2,)}


def test_an_exploding_loss_is_a_bad_step(work, sample_data, tmp_path, capsys):  # noqa: F811
    train(work, **spoiled([12], "blow", epochs=2, batch_size=1, save_every_minutes=0)(sample_data), save_checkpoints_to=tmp_path)
    assert "50 times what it was at step 12" in capsys.readouterr().out
    assert state(tmp_path)["message_hub"]["runtime_info"]["halvings"] == 1


def test_it_gives_up_and_keeps_the_last_good_state(work, sample_data, tmp_path):  # noqa: F811
    with pytest.raises(TrainingError, match=r"nan at step 2.*halved 1 times \(--max-rollbacks\).*\\.jpg.*step 0"):
        train(work, **spoiled([2, 2], "loss", max_rollbacks=1)(sample_data), save_checkpoints_to=tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in state(tmp_path)["state_dict"].values())
