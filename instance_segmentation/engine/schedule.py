"""The learning rate over a run: how long its phases are, and what it is at a step."""

import math
import warnings

WARM_UPS = ("LinearLR", "ConstantLR")  # schedulers that count steps and begin with the first one
PROGRESS = {"optimizer", "last_step", "_global_step", "_last_value", "verbose"}  # of a scheduler: where it is, not what it does


def steps_per_epoch(cfg, images, processes):
    """How many steps each of `processes` takes in an epoch of a run's Config over so many training images."""
    loader = cfg.train_dataloader
    images = loader.sampler.get("images") or images * loader.dataset.get("times", 1)
    return math.ceil(images / processes / loader.batch_size)


def set_schedule(cfg, epochs, iterations):
    """Stretch the learning-rate schedule over `epochs` of `iterations` steps; warm-up takes a tenth at most.

    A warm-up of less than two steps is left out: mmengine's reaches the full rate with its second one. The average of the
    weights (`--ema`) looks back over a tenth of all steps, too.
    """
    steps = epochs * iterations
    for scheduler in cfg.param_scheduler:
        if scheduler.get("by_epoch", True):
            _stretch(scheduler, epochs / cfg.train_cfg.max_epochs)
        elif scheduler.type in WARM_UPS:
            scheduler.end = min(scheduler.get("end", steps), steps // 10)
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler = [item for item in cfg.param_scheduler if item.type not in WARM_UPS or item.get("end", steps) >= 2]
    for hook in cfg.custom_hooks:
        if hook.type == "EMAHook":
            hook.momentum = min(0.5, 10 / steps)


def _stretch(scheduler, ratio):
    """Give a scheduler that counts epochs its places in a run that is `ratio` times as long."""
    begin = scheduler.begin = int(scheduler.get("begin", 0) * ratio)
    for key in ("end", "T_max"):
        if key in scheduler:
            scheduler[key] = max(begin + 1 if key == "end" else 1, round(scheduler[key] * ratio))
    if "milestones" in scheduler:
        scheduler.milestones = [max(1, round(place * ratio)) for place in scheduler.milestones]


def described(schedulers):
    """What schedulers do, without where they are."""
    return [{key: value for key, value in vars(each).items() if key not in PROGRESS} for each in schedulers]


def advanced(build, wrapper, steps, epoch_length):
    """Schedulers, and the optimizer's rates, as they are after `steps` of a run from its beginning.

    Args:
        build: Makes the schedulers for the optimizer, whose groups have the values to begin with.
        wrapper: mmengine's OptimWrapper; its groups are changed. Groups with the same values are computed once: there may be
            hundreds.
        steps: Taken so far.
        epoch_length: Steps, for schedulers that count epochs.

    Returns:
        The list of schedulers.
    """
    optimizer, kinds = wrapper.optimizer, {}
    groups = optimizer.param_groups
    places = [kinds.setdefault(_values(group), (len(kinds), group))[0] for group in groups]
    optimizer.param_groups = few = [group for _, group in kinds.values()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `scheduler.step", UserWarning)
        schedulers = build()
        for step in range(1, steps + 1):
            _step([each for each in schedulers if not each.by_epoch])
            if step % epoch_length == 0:
                _step([each for each in schedulers if each.by_epoch])
    optimizer.param_groups = groups
    for group, place in zip(groups, places, strict=True):
        group.update({key: value for key, value in few[place].items() if key != "params"})
    places += range(len(few), len(few) + len(wrapper.param_groups) - len(groups))  # the wrapper's own, which is no part of few
    for scheduler in schedulers:
        scheduler.base_values = [scheduler.base_values[place] for place in places]
        scheduler._last_value = [scheduler._last_value[place] for place in places]
    return schedulers


def _step(schedulers):
    for scheduler in schedulers:
        scheduler.step()


def _values(group):
    return repr(sorted((key, value) for key, value in group.items() if key != "params"))
