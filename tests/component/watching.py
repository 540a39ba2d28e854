"""Hooks for runs in other processes, which find them by `tests.component.watching.NAME`."""

import hashlib
import os
import signal
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook


class Digests(Hook):
    """Write a digest of everything a process holds after each step: weights, running statistics, their averages, momenta."""

    priority = "LOWEST"

    def __init__(self, folder):
        self.folder = Path(folder)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        averages = [tensor for hook in runner.hooks if hasattr(hook, "ema_model")
                    for tensor in hook.ema_model.state_dict().values()]
        moments = [value for entry in runner.optim_wrapper.optimizer.state.values() for value in entry.values()]
        gradients = [parameter.grad for parameter in runner.network.parameters() if parameter.grad is not None]
        digest = hashlib.sha256()
        for tensor in [*runner.network.state_dict().values(), *averages, *moments, *gradients]:
            digest.update(tensor.numpy().tobytes())
        with open(self.folder / f"digests_{get_rank()}.txt", "a") as file:
            print(runner.iter + 1, digest.hexdigest(), f"{float(outputs['loss']):.9g}", file=file)


class Misfortune(Hook):
    """In one process, make one step's loss NaN and end the process without a word at another step.

    Args:
        rank: Of the process.
        nan_at, end_at: Numbers of steps, from 1.
    """

    def __init__(self, rank, nan_at, end_at):
        self.rank, self.nan_at, self.end_at = rank, nan_at, end_at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if get_rank() != self.rank:
            return
        if runner.iter + 1 == self.end_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if runner.iter + 1 == self.nan_at:
            self.nan_at, network = None, runner.network
            parse = network.parse_losses

            def spoiled(losses):
                del network.parse_losses
                total, log = parse(losses)
                return total * torch.nan, log | dict(loss=total * torch.nan)
            network.parse_losses = spoiled
