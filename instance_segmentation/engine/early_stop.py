"""Hook: end a training whose validation metric no longer improves."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from instance_segmentation.report import say


@HOOKS.register_module()
class StopWithoutProgress(Hook):
    """Stop after `patience` epochs without a new best; mmengine's own forgets at a resume how long it has waited.

    Args:
        patience: Epochs.
    """

    priority = "LOWEST"  # after KeepLatestAndBest, which knows the best epoch

    def __init__(self, patience):
        self.patience = patience

    def before_train(self, runner):
        """A resumed run may have waited long enough already."""
        self.after_val_epoch(runner)

    def after_val_epoch(self, runner, metrics=None):
        """Count from the best epoch, or from the start when nothing was found yet."""
        info = runner.message_hub.runtime_info
        best = info.get("best_epoch", info.get("waited_since", 0))  # see `resuming.forget_best`
        if runner.epoch - best >= self.patience:
            runner.train_loop.stop_training = True
            say("Stopped", f"no better segm AP in the {self.patience} epochs since epoch {best} (--early-stop)")
