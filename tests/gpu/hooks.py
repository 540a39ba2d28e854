"""Hooks for runs of the GPU tests."""

import signal

from mmengine.hooks import Hook


class InterruptAt(Hook):
    """Interrupt a run as Ctrl-C does, at a step counted from 1."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step:
            runner.interrupted = signal.SIGINT
