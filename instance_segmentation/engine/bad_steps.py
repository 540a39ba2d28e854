"""Stop at the first step whose loss or weights are of no use, go back to the last good state and halve the learning rate."""

import math
from itertools import chain
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, barrier
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from instance_segmentation.errors import TrainingError
from instance_segmentation.report import say

LOOK_BACK = 50
EXPLODED = 50  # times the median of the last losses; single batches of sound runs stay below ten times


class BadStep(Exception):
    """A training step went wrong.

    Args:
        what: What is wrong, a phrase.
        images: Paths of the images since the last update of the weights.
    """

    def __init__(self, what, images):
        super().__init__(what)
        self.what, self.images = what, images


@HOOKS.register_module()
class StopAtBadStep(Hook):
    """Raise BadStep for a loss or weights that are not finite, and for a loss far above the last ones."""

    priority = "HIGH"  # after RuntimeInfoHook has noted the loss, before anything saves or averages the weights

    def before_train_epoch(self, runner):
        """Forget the images of an epoch that was given up."""
        self.images = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Look at one step."""
        self.images += [sample.img_path for sample in data_batch["data_samples"]]
        losses = runner.message_hub.get_scalar("train/loss").data[0]
        usual = float(torch.tensor(losses[-LOOK_BACK - 1:-1]).median()) if len(losses) > 10 else math.inf
        if not math.isfinite(losses[-1]):
            raise BadStep(f"the loss is {losses[-1]}", self.images)
        if losses[-1] > EXPLODED * usual:
            raise BadStep(f"the loss is {losses[-1]:.3g}, {EXPLODED} times what it was", self.images)
        if runner.optim_wrapper.should_update():
            if not is_finite(runner.model):
                raise BadStep("the weights are no longer finite", self.images)
            self.images = []


def is_finite(model):
    """Whether all weights and running statistics are finite numbers."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.nn.utils.get_total_norm(tensors).isfinite())


def go_back(runner, bad, most):
    """Restore latest.pth and halve the learning rate; latest.pth then holds that, so that a resumed run does the same.

    Args:
        runner: The runner whose step was bad.
        bad: The BadStep.
        most: How often a run may go back.

    Raises:
        TrainingError: It went back that often already.
    """
    place = f"step {runner.iter + 1}"
    runner._resume = runner._has_loaded = True  # hooks take their state from the file, too; nothing is new in it
    runner.resume(str(Path(runner.work_dir) / "latest.pth"))
    runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, runner.max_iters)  # updates come where they came
    halvings, group = runner.message_hub.runtime_info.get("halvings", 0), runner.optim_wrapper.param_groups[0]
    images = ", ".join(dict.fromkeys(", ".join(chain(*all_gather_object(bad.images))).split(", ")))  # a mixed image is several
    if halvings >= most:
        raise TrainingError(f"{bad.what} at {place}, with the learning rate halved {halvings} times (--max-rollbacks). Its "
                            f"images: {images}. Check their annotations, or pass a smaller --base-learning-rate; latest.pth "
                            f"holds the last good state, step {runner.iter}")
    halve_rate(runner)
    runner.message_hub.update_info("halvings", halvings + 1)
    barrier()  # until every process has read the file
    runner.save_checkpoint(runner.work_dir, "latest.pth", meta=dict(epoch=runner.epoch, iter=runner.iter))
    say("Bad step", f"{bad.what} at {place} ({images}): back to step {runner.iter}, learning rate from now on half of what it "
                    f"was, {group['initial_lr']:g} ({halvings + 1} of at most {most} times)")


def halve_rate(runner):
    """Halve the current learning rate and what the schedule will make of it."""
    for group in runner.optim_wrapper.param_groups:
        group["lr"] /= 2
        group["initial_lr"] /= 2
    for scheduler in runner.param_schedulers:
        if scheduler.param_name == "lr":
            scheduler.base_values = [value / 2 for value in scheduler.base_values]
