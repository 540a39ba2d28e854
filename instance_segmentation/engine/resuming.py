"""A run that goes on under other conditions: with more epochs, another batch, rate or number of processes, other data."""

from dataclasses import dataclass

from mmengine.dist import master_only

from instance_segmentation.engine.iterations import SizedSampler
from instance_segmentation.engine.schedule import advanced, described
from instance_segmentation.errors import TrainingError
from instance_segmentation.report import say

tell = master_only(say)


@dataclass(frozen=True)
class Configured:
    """What a run's config says about the optimizer's groups (dicts without tensors) and about the schedulers."""

    groups: list
    schedulers: list

    @classmethod
    def of(cls, runner):
        """As they were built, before a checkpoint is read."""
        return cls([_numbers(group) for group in runner.optim_wrapper.param_groups], described(runner.param_schedulers))


def find_place(runner, checkpoint):
    """Translate a checkpoint's place in the run into this run's steps; an epoch of another length begins anew.

    Returns:
        How many steps of this run are one of the checkpoint's; 1.0 when nothing is different.

    Raises:
        TrainingError: The run counts iterations, and its stretches between validations are of another length.
    """
    hub, steps = runner.message_hub, len(runner.train_dataloader)
    before = hub.runtime_info.get("steps_per_epoch", steps)
    if before == steps:
        return 1.0
    if isinstance(runner.train_dataloader.sampler, SizedSampler):
        raise TrainingError(f"{checkpoint}: its run takes {before} batches from one validation to the next, these flags make "
                            f"that {steps}; repeat its --max_iter, --test_interval, --bs and --bs_per_gpu, or start from its "
                            "weights without --resume")
    begun = runner.iter > runner.epoch * before
    runner.train_loop._iter = runner.epoch * steps
    for parameter in runner.network.parameters():  # of --accumulate; they are of batches that are drawn again
        parameter.grad = None
    tell("Resume", f"an epoch has {steps} steps now, it had {before}: data, batch size or number of processes differ from the "
                   f"checkpoint's" + (f"; epoch {runner.epoch + 1} begins anew" if begun else ""))
    return steps / before


def follow_config(runner, configured, checkpoint):
    """Give optimizer and schedulers the values that they would have here in one long run with this config.

    Nothing is touched when the checkpoint's run had the same: it goes on bit by bit. Halvings after bad steps stay.

    Args:
        runner: Which has read the checkpoint, and is at its place.
        configured: What the config says.
        checkpoint: Its path.

    Raises:
        TrainingError: The optimizer is another one.
    """
    if any(getattr(each, "need_val_args", False) for each in runner.param_schedulers):
        return  # one that watches the metric: its rate does not follow from the step
    optimizer, hub = runner.optim_wrapper.optimizer, runner.message_hub
    if any(optimizer.defaults.keys() - group.keys() for group in optimizer.param_groups):
        raise other_optimizer(checkpoint)
    share = 0.5 ** hub.runtime_info.get("halvings", 0)
    groups = [{**group, "initial_lr": share * group["initial_lr"]} for group in configured.groups]
    known = [_numbers(group) for group in runner.optim_wrapper.param_groups]
    if groups == known and described(runner.param_schedulers) == described_by(configured, share):
        return
    rate = optimizer.param_groups[0]["lr"]
    for group, values in zip(runner.optim_wrapper.param_groups, groups, strict=True):
        started = {key.removeprefix("initial_"): value for key, value in values.items() if key.startswith("initial_")}
        group.update(values | started)
    runner.param_schedulers = advanced(lambda: runner.build_param_scheduler(runner.cfg.param_scheduler), runner.optim_wrapper,
                                       runner.iter, len(runner.train_dataloader))
    tell("Resume", f"the schedule is now that of {runner.max_epochs} epochs with these settings: step {runner.iter + 1} of "
                   f"{runner.max_iters}, learning rate {optimizer.param_groups[0]['lr']:.3g}, it was {rate:.3g}")


def forget_best(runner):
    """Look anew for a best epoch, because the checkpoint of the one so far is gone; `--early-stop` counts on from that."""
    info = runner.message_hub.runtime_info
    epoch, score = info.pop("best_epoch"), info.pop("best_score")
    runner.message_hub.update_info("waited_since", epoch)
    tell("Resume", f"the best checkpoint so far, of epoch {epoch} (segm AP {score:.3f}), is not beside the one that goes on; "
                   "best.pth will be the best from here on")


def other_optimizer(checkpoint):
    """The TrainingError about a checkpoint whose optimizer does not fit the config's."""
    return TrainingError(f"{checkpoint}: its run has another optimizer, or other layers in it, than this config; put that back, "
                         "or start from its weights with --load-weights")


def described_by(configured, share):
    """The config's schedulers as `described` gives them when the learning rate has been halved to `share`."""
    return [{**each, "base_values": [share * value for value in each["base_values"]]} if each["param_name"] == "lr" else each
            for each in configured.schedulers]


def _numbers(group):
    """A group's values but for those that schedulers change: these follow from `initial_…`."""
    return {key: value for key, value in group.items() if key != "params" and f"initial_{key}" not in group}
