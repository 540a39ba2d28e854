"""A run that is counted in iterations, which are updates of the weights, instead of epochs: Detectron's schedules."""

import math

from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS

from instance_segmentation.engine.seeding import SeededSampler

WARM_UP = dict(linear=("LinearLR", "start_factor"), constant=("ConstantLR", "factor"))


@DATA_SAMPLERS.register_module()
class SizedSampler(SeededSampler):
    """A SeededSampler whose epochs have a given number of images, fewer or more than the dataset.

    Args:
        dataset: The dataset.
        images: Number of images, of all processes.
        named: Arguments of SeededSampler.
    """

    def __init__(self, dataset, images, **named):
        super().__init__(dataset, **named)
        self.num_samples = math.ceil(images / self.world_size)
        self.total_size = self.num_samples * self.world_size


@HOOKS.register_module()
class KeepEvery(Hook):
    """Keep a checkpoint `iter_N.pth` now and then.

    Args:
        iterations: Between two of them.
        batches: Per iteration.
    """

    priority = "VERY_LOW"  # as KeepLatestAndBest, which adds to every checkpoint what a run needs to go on

    def __init__(self, iterations, batches):
        self.iterations, self.batches = iterations, batches

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Write it when it is due."""
        if self.every_n_train_iters(runner, self.iterations * self.batches):
            done = runner.iter + 1
            runner.save_checkpoint(runner.work_dir, f"iter_{done // self.batches}.pth", meta=dict(epoch=runner.epoch, iter=done))


def set_iterations(cfg, *, processes, number, validate_every, save_every, warmup_iters, warmup_factor, warmup_method, drop_lr,
                   gamma):
    """Set a Config's schedule, in place; its epochs become what lies between two validations, all of the same length.

    Args:
        cfg: A run's Config, with the batch and the number of accumulated batches it shall have.
        processes: That train together.
        number: Of iterations; rounded up to whole epochs.
        validate_every, save_every: Iterations between two validations, and between two `iter_N.pth`.
        warmup_iters, warmup_factor, warmup_method: Length, share of the learning rate at the start, and `linear` or `constant`.
        drop_lr, gamma: Iterations after which the learning rate is multiplied by `gamma`.
    """
    loader, batches = cfg.train_dataloader, cfg.optim_wrapper.get("accumulative_counts", 1)  # per iteration
    cfg.train_cfg.max_epochs = math.ceil(number / validate_every)
    epoch = batches * math.ceil(number / cfg.train_cfg.max_epochs)
    loader.dataset.times = 1
    loader.sampler = dict(type="SizedSampler", images=epoch * loader.batch_size * processes, shuffle=True)
    cfg.param_scheduler = [
        dict(type="MultiStepLR", by_epoch=False, milestones=[batches * place for place in drop_lr], gamma=gamma)]
    if warmup_iters:
        kind, factor = WARM_UP[warmup_method]  # mmengine's ends one batch early
        cfg.param_scheduler.insert(0, {"type": kind, factor: warmup_factor, "by_epoch": False, "end": batches * warmup_iters + 1})
    cfg.custom_hooks.append(dict(type="KeepEvery", iterations=save_every, batches=batches))
