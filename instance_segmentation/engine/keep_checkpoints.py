"""Hook: keep latest.pth, from which training continues exactly, and best.pth by the validation metric."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS

from instance_segmentation.engine.replicas import any_process
from instance_segmentation.report import say
from instance_segmentation.writing import replacing

RECENT = 50  # losses kept: more than the log averages and than the watch over exploding losses looks back


@HOOKS.register_module()
class KeepLatestAndBest(Hook):
    """Keep two checkpoints under fixed names; mmengine's own hook numbers them and deletes the best before it rewrites it.

    Args:
        metric: Key of the validation metrics that decides; higher is better.
        every_minutes: Time between two savings within an epoch. latest.pth is also written after each epoch and validation.
    """

    # after the ParamSchedulerHook (LOW), so that a resumed run continues with the next step's learning rate
    priority = "VERY_LOW"

    def __init__(self, metric="segm/AP", every_minutes=10):
        self.metric, self.every_s = metric, 60 * every_minutes

    def before_train(self, runner):
        """Save the start: what a bad first step goes back to."""
        self.save(runner, runner.epoch, runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Save now and then, and before an interrupted run ends."""
        interrupted = any_process(runner.interrupted)  # a signal reaches them at different steps
        if interrupted or time.monotonic() - self.saved >= self.every_s:
            self.save(runner, runner.epoch, runner.iter + 1)
        if interrupted:
            say("Saved", f"{Path(runner.work_dir) / 'latest.pth'}, after step {runner.iter + 1} of {runner.max_iters}; "
                         "continue with --resume-from auto")
            runner.end()

    def after_train_epoch(self, runner):
        """Save what the validation will look at."""
        self.save(runner, runner.epoch + 1, runner.iter)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Do not make an interrupted run wait: latest.pth was saved before the validation, which is done again."""
        if runner.interrupted:
            runner.end()

    def after_val_epoch(self, runner, metrics=None):
        """Name the saved state best.pth when the metric is the highest so far; NaN (no ground truth) never is."""
        hub, folder, score = runner.message_hub, Path(runner.work_dir), (metrics or {}).get(self.metric, float("nan"))
        if score > hub.runtime_info.get("best_score", -1.0):
            hub.update_info("best_score", score)
            hub.update_info("best_epoch", runner.epoch)
            if is_main_process():
                link(folder / "latest.pth", folder / "best.pth")
        hub.update_info("validated_epoch", runner.epoch)
        self.save(runner, runner.epoch, runner.iter)

    def save(self, runner, epoch, iteration):
        """Write latest.pth for a run that has finished `epoch` epochs and `iteration` steps."""
        runner.save_checkpoint(runner.work_dir, "latest.pth", meta=dict(epoch=epoch, iter=iteration))
        self.saved = time.monotonic()

    def before_save_checkpoint(self, runner, checkpoint):
        """Add what mmengine leaves out, as plain values, so that `torch.load(weights_only=True)` reads the file."""
        info = {key: value for key, value in runner.message_hub.runtime_info.items()
                if isinstance(value, (int, float, str))}
        recent = {key: [column[-RECENT:].tolist() for column in buffer.data]
                  for key, buffer in runner.message_hub.log_scalars.items() if key.startswith("train/")}
        checkpoint["message_hub"] = dict(runtime_info=info, log_scalars=recent, resumed_keys={})
        checkpoint["meta"]["instseg"] = runner.cfg.instseg.to_dict()
        # there are some only in the middle of --accumulate
        checkpoint["gradients"] = {name: parameter.grad.cpu() for name, parameter in runner.network.named_parameters()
                                   if parameter.grad is not None}
        for key, value in checkpoint.items():
            if key not in ("state_dict", "gradients"):
                checkpoint[key] = plain(value)

    def after_load_checkpoint(self, runner, checkpoint):
        """Take up again, when a run continues, what `before_save_checkpoint` added."""
        if runner._resume:
            gradients = checkpoint.get("gradients", {})
            for name, parameter in runner.network.named_parameters():
                parameter.grad = gradients[name].to(parameter.device) if name in gradients else None
            scalars = checkpoint["message_hub"]["log_scalars"]
            scalars.update({key: HistoryBuffer(*columns) for key, columns in scalars.items()})


def plain(value):
    """NumPy numbers inside nested dicts, lists and tuples as Python's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def link(source, target):
    """Make `target` a second name of `source`'s content, atomically; a copy where links are not possible."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
