"""Random numbers that depend on the run's seed and on the place in the schedule, on nothing else.

Every training step and every training sample starts its generators afresh from (seed, place). No generator's state has to be
saved, so a run can continue anywhere with the numbers it would have had, and the number of loader processes changes nothing.
"""

import random
from itertools import islice

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, RepeatDataset
from mmengine.registry import DATA_SAMPLERS, DATASETS

STEP, SAMPLE, VALIDATION = 1, 2, 3  # kinds of places, so that two of them never share their numbers


def seed_everything(*place, devices=True):
    """Seed Python, NumPy and torch from whole numbers ≥ 0; other numbers give independent sequences.

    Without `devices` only torch's generator on the CPU, the same as with: in CPU builds asking for GPUs takes most of the time.
    """
    seed = int(np.random.SeedSequence(place).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's shuffle, with each sample's own seed, which can begin in the middle of an epoch.

    Yields (index, numbers for `seed_everything`). Samples before `first`, counted in this process, are left out.
    """

    first = 0

    def __iter__(self):
        for place, index in islice(enumerate(super().__iter__()), self.first, None):
            yield index, (SAMPLE, self.seed, self.epoch, place * self.world_size + self.rank)


@DATASETS.register_module()
class SeededRepeatDataset(RepeatDataset):
    """mmengine's RepeatDataset for a SeededSampler: a sample's augmentation depends on its seed alone."""

    def __getitem__(self, index_and_seed):
        index, place = index_and_seed
        seed_everything(*place, devices=False)  # images are changed on the CPU
        return super().__getitem__(index)
