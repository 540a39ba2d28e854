"""What suits a GPU in a config and in a network, and would not suit a CPU."""

import os
import shutil

WORKERS = 8  # at most; more hardly load faster than a GPU trains
AHEAD = 3  # batches that a loader process has in shared memory: two that wait, one in the making
TENSOR_CORES = (7, 0)  # NVIDIA's generation (Volta) from which float16 is faster than float32


def set_for_gpu(cfg, num_workers=None):
    """Change a run's Config, in place: loaders that keep up with a GPU, and cuDNN's search for kernels where it pays.

    Without a GPU it stays as it is.

    Args:
        cfg: A run's Config, with its batch size.
        num_workers: What the user asked for, if anything.
    """
    from mmengine.device import get_device
    if get_device() != "cuda":
        return
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.pin_memory = True
    if num_workers is None:
        cfg.train_dataloader.num_workers = loader_workers(cfg.train_dataloader.batch_size, max(cfg.input_size))
    cfg.env_cfg.cudnn_benchmark = has_one_size(cfg)


def loader_workers(batch_size, side):
    """Loader processes for one training process: its share of the cores, and of /dev/shm, which containers keep small.

    Args:
        batch_size: Images.
        side: Of the network's input in pixels; training goes up to 1.3 times that.
    """
    batch_bytes = batch_size * 3 * int(1.3 * side) ** 2
    room = shutil.disk_usage("/dev/shm").free // 2 if os.path.isdir("/dev/shm") else WORKERS * AHEAD * batch_bytes
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", len(os.sched_getaffinity(0)) // here))
    return max(1, min(WORKERS, cores, room // here // (AHEAD * batch_bytes)))


def has_one_size(cfg):
    """Whether all training images have one size, for which cuDNN may look for its fastest kernels once.

    Padding at the end of the pipeline decides it; without one, each batch is as large as its largest image.
    """
    dataset = cfg.train_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    kinds = [step.type for step in dataset.pipeline]
    last = max((place for place, kind in enumerate(kinds) if "Resize" in kind), default=-1)
    return any(kind == "Pad" and "size" in dataset.pipeline[place] for place, kind in enumerate(kinds) if place > last)


def suit_gpu(model):
    """Change a network on a GPU, in place: copies that need not wait, and NMS of all levels at once.

    Level by level (`split_thr`) is a third of the comparisons, and faster on a CPU; on a GPU the processor waits for each.
    """
    model.data_preprocessor._non_blocking = True
    proposals = (model.train_cfg or {}).get("rpn_proposal") if hasattr(model, "train_cfg") else None
    if proposals:
        proposals.nms.pop("split_thr", None)


def multiplies_float16():
    """Whether the GPU multiplies in float16 faster than in float32."""
    import torch
    return torch.cuda.get_device_capability() >= TENSOR_CORES
