"""Hook: write latest.pth after every epoch and best.pth when the validation metric improves."""

import os
import shutil
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KeepLatestAndBest(Hook):
    """Keep two checkpoints under fixed names; mmengine's own hook numbers them and deletes the best before it rewrites it.

    Args:
        metric: Key of the validation metrics that decides; higher is better.
    """

    # after the ParamSchedulerHook (LOW), so that a resumed run continues with the next epoch's learning rate
    priority = "VERY_LOW"

    def __init__(self, metric="segm/AP"):
        self.metric = metric

    def after_train_epoch(self, runner):
        """Save the state that the next epoch starts from."""
        runner.save_checkpoint(runner.work_dir, "latest.pth")

    def after_val_epoch(self, runner, metrics=None):
        """Copy latest.pth to best.pth when the metric is the highest so far; NaN (no ground truth) never is."""
        score = (metrics or {}).get(self.metric, float("nan"))
        if score > runner.message_hub.runtime_info.get("best_score", -1.0):
            runner.message_hub.update_info("best_score", score)
            runner.message_hub.update_info("best_epoch", runner.epoch)
            folder = Path(runner.work_dir)
            if (folder / "latest.pth").is_file():
                replace_with_link(folder / "latest.pth", folder / "best.pth")

    def before_save_checkpoint(self, runner, checkpoint):
        """Leave only plain values in the file, so that `torch.load(weights_only=True)` reads it."""
        info = {key: value for key, value in runner.message_hub.runtime_info.items()
                if isinstance(value, (int, float, str))}
        checkpoint["message_hub"] = dict(runtime_info=info, log_scalars={}, resumed_keys={})
        checkpoint["meta"]["instseg"] = runner.cfg.instseg.to_dict()
        for key, value in checkpoint.items():
            if key != "state_dict":
                checkpoint[key] = plain(value)


def plain(value):
    """NumPy numbers inside nested dicts, lists and tuples as Python's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def replace_with_link(source, target):
    """Make `target` a second name of `source`'s content, atomically; a copy where links are not possible."""
    temporary = target.with_name(target.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
