"""The learning rate of every step, for runs of any length, from the beginning and resumed; nothing is trained."""

import copy
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from instance_segmentation.engine.bad_steps import halve_rate
from instance_segmentation.engine.config import train_config
from instance_segmentation.engine.resuming import Configured, find_place, follow_config
from instance_segmentation.engine.schedule import set_schedule
from instance_segmentation.errors import TrainingError

pytestmark = [pytest.mark.component, pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")]
BASE = 0.02  # of a batch of 8


class Stub:
    """What the schedule needs of a Runner."""

    def __init__(self, cfg, images, batch, groups=3):
        self.cfg, self.network = cfg, torch.nn.Linear(1, groups)
        parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(groups)]
        # a group for each parameter, as mmengine makes them; one of them learns more slowly
        self.optim_wrapper = OptimWrapper(torch.optim.SGD(
            [dict(params=[each], lr=cfg.optim_wrapper.optimizer.lr * (0.1 if index == 1 else 1))
             for index, each in enumerate(parameters)], lr=cfg.optim_wrapper.optimizer.lr, momentum=0.9))
        self.steps = math.ceil(images / batch)
        self.train_dataloader = Loader(self.steps)
        self.train_loop = SimpleNamespace(_epoch=0, _iter=0)
        self.message_hub = MessageHub("stub")
        self.message_hub.update_info("steps_per_epoch", self.steps)
        self.param_schedulers = self.build_param_scheduler(cfg.param_scheduler)

    epoch = property(lambda self: self.train_loop._epoch)
    iter = property(lambda self: self.train_loop._iter)
    max_epochs = property(lambda self: self.cfg.train_cfg.max_epochs)
    max_iters = property(lambda self: self.max_epochs * self.steps)

    def build_param_scheduler(self, items):
        return [PARAM_SCHEDULERS.build(dict(item), default_args=dict(optimizer=self.optim_wrapper, epoch_length=self.steps))
                for item in items]

    def take_steps(self, until):
        """The rates of all groups in each step until that one."""
        found = []
        while self.iter < until:
            found.append([group["lr"] for group in self.optim_wrapper.param_groups])
            self.optim_wrapper.optimizer.step()
            self.train_loop._iter += 1
            self.train_loop._epoch = self.iter // self.steps
            for scheduler in self.param_schedulers:
                if not scheduler.by_epoch or self.iter % self.steps == 0:
                    scheduler.step()
        return found

    def resume(self, other):
        """As FineTuneRunner does, from the other one's state."""
        configured = Configured.of(self)
        self.train_loop._epoch, self.train_loop._iter = other.epoch, other.iter
        self.message_hub.runtime_info.update(other.message_hub.runtime_info)
        self.optim_wrapper.load_state_dict(copy.deepcopy(other.optim_wrapper.state_dict()))
        for own, theirs in zip(self.param_schedulers, other.param_schedulers, strict=False):
            own.load_state_dict(theirs.state_dict())
        find_place(self, "c.pth")
        follow_config(self, configured, "c.pth")
        return self


class Loader(SimpleNamespace):
    def __init__(self, steps):
        super().__init__(steps=steps, sampler=None)

    def __len__(self):
        return self.steps


FAMILY = "model_templates/custom-instance-segmentation"


@pytest.fixture(scope="module")
def cfg(repo):
    """The 480 template's Config, which `train_config` leaves as it is."""
    return Config.fromfile(repo / FAMILY / "efficientnet_b2b-mask_rcnn-480x480/model.py")


def run_of(cfg, images, batch, epochs, rate=None, accumulate=None):
    """A Stub of a run with this schedule; its rate as `train` scales it."""
    cfg = train_config(cfg, train_json="t", val_json="v", images=images, classes=["a"], output="o", epochs=epochs,
                       batch_size=batch, learning_rate=rate, accumulate=accumulate,
                       overrides={"train_dataloader.dataset.times": 1})
    return Stub(cfg, images, batch)


LENGTHS = [(images, batch, epochs) for images, batch, epochs in itertools.product((1, 5, 8, 60, 1000), (1, 8, 64), (1, 2, 6, 40))
           if math.ceil(images / batch) * epochs <= 1600]


@pytest.mark.parametrize("name", ["efficientnet_b2b-mask_rcnn-480x480", "efficientnet_b2b-mask_rcnn-576x576"])
def test_runs_of_every_length_reach_their_rate_and_end_low(repo, name):
    """Each of these templates has a schedule of its own."""
    seen, cfg = 0, Config.fromfile(repo / FAMILY / name / "model.py")
    for images, batch, epochs in LENGTHS:
        run = run_of(cfg, images, batch, epochs)
        base, total = run.cfg.optim_wrapper.optimizer.lr, run.max_iters
        rates = [first for first, *_ in run.take_steps(total)]
        assert max(rates) >= 0.9 * base, (images, batch, epochs)
        assert max(rates) <= base * (1 + 1e-9)
        if total >= 20:  # a cosine of few steps ends earlier on its way
            assert rates[-1] <= 0.02 * base, (images, batch, epochs)
            seen += 1
    assert seen > 15


def test_short_runs_warm_up_only_where_there_is_time(cfg):
    for steps in range(1, 41):
        run = run_of(cfg, steps, 1, 1)
        rates = [first / run.cfg.optim_wrapper.optimizer.lr for first, *_ in run.take_steps(steps)]
        assert max(rates) >= 0.9 and (rates[0] < 0.1) == (steps >= 20), steps


@pytest.mark.parametrize("accumulate", [None, 2, 5])
def test_updates_of_accumulated_batches_reach_the_rate(cfg, accumulate):
    for images, epochs in ((60, 2), (200, 5)):
        run, every = run_of(cfg, images, 1, epochs, accumulate=accumulate), accumulate or 1
        rates = [first for first, *_ in run.take_steps(run.max_iters)]
        updates = [rate for index, rate in enumerate(rates, 1) if index % every == 0 or index == len(rates)]
        assert max(updates) >= 0.9 * run.cfg.optim_wrapper.optimizer.lr and updates[-1] <= 0.02 * max(updates)


CHANGES = [
    dict(), dict(epochs=6), dict(epochs=40), dict(rate=0.5), dict(batch=2), dict(batch=8, epochs=3), dict(images=500),
    dict(accumulate=4), dict(batch=30, rate=0.01, epochs=9)]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("stop", [3, 15, 29, 30])
def test_resumed_it_goes_on_like_one_long_run(cfg, change, stop):
    """60 images, batches of 4, 2 epochs: 30 steps. Within an epoch of another length, the epoch begins anew."""
    before = dict(images=60, batch=4, epochs=2, rate=None, accumulate=None)
    begun = run_of(cfg, **before)
    begun.take_steps(stop)
    resumed = run_of(cfg, **before | change).resume(begun)
    whole = run_of(cfg, **before | change)
    assert resumed.iter == (stop if whole.steps == begun.steps else stop // 15 * whole.steps) and resumed.epoch == stop // 15
    whole.take_steps(resumed.iter)
    assert resumed.take_steps(resumed.max_iters) == whole.take_steps(whole.max_iters)
    for ours, theirs in zip(resumed.param_schedulers, whole.param_schedulers, strict=True):
        assert ours.state_dict() == theirs.state_dict()
    assert resumed.optim_wrapper.param_groups[1]["lr"] == pytest.approx(0.1 * resumed.optim_wrapper.param_groups[0]["lr"])


def test_a_halved_rate_stays_halved(cfg):
    begun = run_of(cfg, 60, 4, 2)
    begun.take_steps(20)
    halve_rate(begun)
    begun.message_hub.update_info("halvings", 1)
    untouched, longer = (run_of(cfg, 60, 4, epochs).resume(begun) for epochs in (2, 6))
    assert untouched.take_steps(30) == begun.take_steps(30)
    whole = run_of(cfg, 60, 4, 6)
    whole.take_steps(20)
    assert longer.take_steps(30) == [[rate / 2 for rate in step] for step in whole.take_steps(30)]


def test_other_values_of_the_optimizer_count_too(cfg):
    begun = run_of(cfg, 60, 4, 2)
    begun.take_steps(20)
    resumed = run_of(cfg, 60, 4, 2)
    for group in resumed.optim_wrapper.param_groups:
        group["weight_decay"] = 0.5
    assert resumed.resume(begun).optim_wrapper.param_groups[0]["weight_decay"] == 0.5


def test_another_optimizer_is_refused(cfg):
    begun, resumed = (run_of(cfg, 60, 4, 2) for _ in range(2))
    resumed.optim_wrapper.optimizer = torch.optim.AdamW(resumed.network.parameters())
    configured = Configured.of(resumed)
    resumed.optim_wrapper.optimizer.param_groups[0].pop("betas")  # as read from the other one's file
    with pytest.raises(TrainingError, match="c.pth: its run has another optimizer.*--load-weights"):
        follow_config(resumed, configured, "c.pth")
    assert begun.iter == 0


def test_a_schedule_of_ones_own_is_stretched(config_480):
    config_480.param_scheduler = [
        dict(type="LinearLR", start_factor=0.1, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
        dict(type="MultiStepLR", by_epoch=True, milestones=[8, 11], gamma=0.1),
        dict(type="CosineAnnealingLR", by_epoch=True, begin=6, end=12, T_max=6, eta_min=0, convert_to_iter_based=True),
        dict(type="MultiStepLR", by_epoch=False, milestones=[100], gamma=0.1)]
    set_schedule(config_480, epochs=24, iterations=10)
    warm_up, steps, cosine, own = config_480.param_scheduler
    assert warm_up.end == 6 and steps.milestones == [16, 22] and (cosine.begin, cosine.end, cosine.T_max) == (12, 24, 12)
    assert own.milestones == [100]
