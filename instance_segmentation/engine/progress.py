"""Hook: progress with rate and remaining time; a bar on a terminal, a plain line now and then otherwise."""

import math
import time

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from instance_segmentation.report import console, number

PLAIN_EVERY_S = 30


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show where training or testing is, and one line per finished epoch."""

    priority = "LOWEST"  # after KeepLatestAndBest, which knows whether the epoch was the best

    def before_train(self, runner):
        """Start the clock."""
        self.losses = []
        self._start(runner.max_iters - runner.iter)

    def before_train_epoch(self, runner):
        """Remember the epoch's losses from here on."""
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Advance by one batch."""
        loss = float(outputs["loss"].detach())
        self.losses.append(loss)
        text = f"epoch {runner.epoch + 1:>2}/{runner.max_epochs}  loss {loss:.2f}"
        self._advance(text, 1, len(data_batch["inputs"]) * get_world_size())

    def after_val_epoch(self, runner, metrics=None):
        """Print the epoch's line; the star marks the best so far."""
        best = runner.message_hub.runtime_info.get("best_epoch") == runner.epoch
        rate = self.images / max(self.training_s, 1e-9)
        loss = sum(self.losses) / len(self.losses) if self.losses else math.nan  # resumed at the validation
        self.console.print(
            f"epoch {runner.epoch:>2}/{runner.max_epochs}  loss {number(loss)}  segm AP {number(metrics['segm/AP'])}  "
            f"AP50 {number(metrics['segm/AP50'])}  bbox AP {number(metrics['bbox/AP'])}  {rate:.2f} img/s"
            + (f"  val loss {metrics['val_loss']:.3f}" if "val_loss" in metrics else "")
            + ("  ★ best" if best else ""))

    def after_train(self, runner):
        """Take the bar away."""
        self._stop()

    def before_test(self, runner):
        """Start the clock over the test images."""
        self._start(len(runner.test_dataloader))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Advance by one batch."""
        self._advance("evaluating", 1, len(outputs))

    def after_test(self, runner):
        """Take the bar away."""
        self._stop()

    def _start(self, steps):
        self.console, self.steps, self.done, self.images, self.training_s = console(), max(steps, 1), 0, 0, 0.0
        self.began = self.printed = self.last = time.monotonic()
        self.bar = None
        if self.console.is_terminal:
            self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=self.console,
                                transient=True)
            self.task = self.bar.add_task("", total=self.steps, rate="")
            self.bar.start()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Leave validation out of the rate: time counts from the end of the last step or the start of this epoch."""
        if batch_idx == 0:
            self.last = time.monotonic()

    def _advance(self, text, steps, images):
        now = time.monotonic()
        self.training_s += now - self.last
        self.last, self.done, self.images = now, self.done + steps, self.images + images
        rate = self.images / max(self.training_s, 1e-9)
        if self.bar:
            self.bar.update(self.task, advance=steps, description=text, rate=f"{rate:.2f} img/s")
        elif now - self.printed > PLAIN_EVERY_S:
            self.printed = now
            left = math.ceil((now - self.began) / self.done * (self.steps - self.done))
            self.console.print(f"{text}  {100 * self.done // self.steps} %  {rate:.2f} img/s  "
                               f"{left // 60}:{left % 60:02d} left")

    def _stop(self):
        if self.bar:
            self.bar.stop()
