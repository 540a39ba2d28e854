"""Which device trains: hide the GPUs when they are not wanted, say it when they are not there, give each process its own."""

import os
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from instance_segmentation.errors import TrainingError
from instance_segmentation.report import say

MEETING = timedelta(minutes=10)  # of processes that start at the same time


@contextmanager
def chosen_device(gpu_num):
    """With `gpu_num` 0, hide the GPUs from this process, and from those it starts, until the block ends."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu_num == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _tell_mmengine()
    try:
        yield
    finally:
        if gpu_num == 0:
            del os.environ["CUDA_VISIBLE_DEVICES"]
            os.environ.update({} if before is None else dict(CUDA_VISIBLE_DEVICES=before))
        _tell_mmengine()


def _tell_mmengine():
    """Let an mmengine that was imported before look again: it decides on its import, and CUDA cannot be asked a second time."""
    utils = sys.modules.get("mmengine.device.utils")
    if utils and utils.DEVICE in ("cpu", "cuda"):
        utils.DEVICE = "cuda" if os.environ.get("CUDA_VISIBLE_DEVICES") != "" and utils.is_cuda_available() else "cpu"


def say_missing_gpu(asked):
    """Tell a user who asked for GPUs that there is none, and why."""
    import torch
    from mmengine.device import get_device
    if get_device() == "cuda":
        return
    if not torch.version.cuda:
        why = f"torch {torch.__version__} is a build for CPUs (./init_venv.sh DIR --cuda makes an environment for GPUs)"
    elif Path("/dev/nvidiactl").exists():
        why = "torch cannot use the one of this machine (nvidia-smi and CUDA_VISIBLE_DEVICES say more)"
    else:
        why = "this machine shows none"
    say("Device", f"--gpu-num {asked} asks for a GPU, but {why}: training on the CPU, as with --gpu-num 0")


def check_own_gpu(store, rank, world_size):
    """Refuse processes that share a GPU, which NCCL reports in words of its own after minutes.

    Args:
        store: torch's store of this training.
        rank, world_size: Of this process.

    Raises:
        TrainingError: Another process has the same GPU.
    """
    import torch
    store.set(f"gpu/{rank}", str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid))
    keys = [f"gpu/{other}" for other in range(world_size)]
    store.wait(keys, MEETING)
    cards = [store.get(key) for key in keys]
    if cards.count(cards[rank]) > 1:
        raise TrainingError(f"process {rank + 1} and {_other(cards, rank) + 1} of {world_size} have the same GPU; start one "
                            "process for each (srun: --gpus-per-task 1, or as many --gpus-per-node as --ntasks-per-node)")


def _other(cards, rank):
    return next(other for other, card in enumerate(cards) if other != rank and card == cards[rank])
