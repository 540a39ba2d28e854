"""Hooks for runs of the GPU tests."""

from mmengine.hooks import Hook


class InterruptAt(Hook):
    """Interrupt a run as Ctrl-C does, at a step counted from 1."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.interrupted = runner.iter + 1 == self.step
