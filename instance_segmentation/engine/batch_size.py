"""`--batch-size auto`: try training steps in a process of their own, and find the largest batch whose step fits.

Run as a program it takes one config file and prints one JSON line per batch that it tried; when it dies, what it printed is true.
"""

import copy
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from mmengine.config import Config

from instance_segmentation.engine.free_memory import free_memory
from instance_segmentation.errors import TrainingError

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MEASURED = (1, 2, 4)  # on the CPU, whose memory must not be filled up to see whether it is enough
USABLE = 0.8  # of the free memory; the rest is for the loader's processes, validation and other programs


def largest_batch(cfg, images, processes=1, most=SIZES[-1]):
    """The largest batch of SIZES, at most `images` and `most`, with which a training step fits.

    On a GPU it is tried. On the CPU the peaks of small batches are measured and what each image adds is extrapolated to
    80 % of the free memory.

    Args:
        cfg: The Config of the run; its batch size does not matter.
        images: Training images.
        processes: How many share the memory of a CPU.
        most: Images that are enough, however many would fit.

    Returns:
        The batch size and a sentence that says what it rests on.

    Raises:
        TrainingError: Not even a batch of one fits.
    """
    free = free_memory()
    with tempfile.TemporaryDirectory() as folder:
        cfg.dump(Path(folder) / "config.py")
        child = subprocess.run([sys.executable, "-m", __name__, str(Path(folder) / "config.py")], capture_output=True, text=True)
    tried = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    if not tried:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise TrainingError(f"--batch-size auto: a step with one image failed ({last}); pass a smaller --input-size")
    if tried[0]["device"] == "cuda":
        batch = max(line["batch"] for line in tried)
        basis = f"{tried[-1]['peak'] / 2**30:.1f} GiB at the peak of a step"
    else:
        batch, image = extrapolate({line["batch"]: line["peak"] for line in tried}, USABLE * free / processes)
        basis = f"{image / 2**30:.2f} GiB per image, {free / 2**30:.1f} GiB free"
    batch = max(size for size in SIZES if size <= max(1, min(batch, images, most)))
    return batch, basis


def extrapolate(peaks, usable):
    """From bytes at the peak per batch size: the batch that `usable` bytes allow, at least 1, and bytes per image."""
    sizes = sorted(peaks)
    slopes = [(peaks[more] - peaks[less]) / (more - less) for less, more in zip(sizes, sizes[1:], strict=False)]
    image = max([*slopes, 2**20])
    return max(1, int(1 + (usable - peaks[sizes[0]]) / image)), image


def main(config):
    """Try one batch size after the other until one does not fit."""
    from instance_segmentation.engine import register
    register("--batch-size auto")
    import torch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = trial(Config.fromfile(config), device)
    step(1)  # makes the optimizer's state
    for batch in SIZES if device == "cuda" else MEASURED:
        try:
            step(batch)
        except torch.OutOfMemoryError:
            break
        peak = torch.cuda.max_memory_reserved() if device == "cuda" else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if device == "cuda" and peak > 0.9 * torch.cuda.get_device_properties(0).total_memory:
            break
        print(json.dumps(dict(batch=batch, peak=peak, device=device)), flush=True)


def trial(cfg, device):
    """A function that takes one training step with that many copies of the fullest image at the largest training size."""
    from mmdet.registry import DATASETS, MODELS
    from mmengine.dataset import pseudo_collate
    from mmengine.optim import build_optim_wrapper

    from instance_segmentation.engine.augmentation import innermost
    from instance_segmentation.engine.fast_steps import hasten
    source = innermost(cfg.train_dataloader.dataset)
    if source.pipeline[-1].type != "PackDetInputs":  # several images would meet now, which takes hardly more memory
        source.pipeline.append(dict(type="PackDetInputs"))
    for transform in source.pipeline:
        if "scales" in transform:
            transform.scales = [max(transform.scales, key=lambda size: size[0] * size[1])]
    dataset, model = DATASETS.build(source), MODELS.build(cfg.model).to(device).train()
    for hook in cfg.custom_hooks:
        if hook.type == "FastSteps":  # half the numbers' size, half the activations' memory
            hasten(model, device, **{name: value for name, value in hook.items() if name not in ("type", "priority")})
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    fullest = dataset[max(range(len(dataset)), key=lambda index: len(dataset.get_data_info(index)["instances"]))]
    return lambda batch: model.train_step(pseudo_collate([copy.deepcopy(fullest) for _ in range(batch)]), optimizer)


if __name__ == "__main__":
    main(sys.argv[1])
