"""mmengine's Runner with safe reading, atomic writing and a quiet terminal."""

import json
import logging
import os
import signal
import threading
import warnings
from pathlib import Path

from mmengine.dist import is_main_process, master_only
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from instance_segmentation.engine.checkpoint import classes_of, load_state, read_checkpoint
from instance_segmentation.report import say, table, write_text
from instance_segmentation.writing import replacing


def is_news(record):
    """Keep mmengine's notes off the terminal that say nothing to the user.

    They are deprecations of its own calls, that gradients are lost by a resume between two updates (ours are saved), and that
    layers which parts of a network share are given to the optimizer once.
    """
    old_news = "FileClient", "HardDiskBackend", "is lost and the result may", "is skipped since bypass_duplicate"
    return not any(words in record.getMessage() for words in old_news)


class FineTuneRunner(Runner):
    """The loop, hooks and scheduling are mmengine's; this class only changes files, interrupts and noise."""

    interrupted = False

    def build_logger(self, *args, **kwargs):
        """Log everything to the run's file, and only warnings to the terminal."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
                handler.addFilter(is_news)
        return logger

    def train(self):
        """Train; the first Ctrl-C lets the step finish and KeepLatestAndBest save it, the second interrupts at once."""
        process, usual = os.getpid(), signal.getsignal(signal.SIGINT)

        def note(number, frame):
            self.interrupted = True
            signal.signal(signal.SIGINT, usual)
            if os.getpid() == process:  # the loader's processes inherit this handler, and go on working
                say("Ctrl-C", "finishing this step and saving it; press it again to stop at once")

        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            signal.signal(signal.SIGINT, note)
        try:
            with warnings.catch_warnings():  # mmengine's schedules count batches, with --accumulate most are no update
                warnings.filterwarnings("ignore", "Detected call of `scheduler.step", UserWarning)
                return super().train()
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, usual)

    def resume(self, filename, **kwargs):
        """Continue a checkpoint; what scalars.json says about later steps is forgotten, they will be taken again."""
        super().resume(filename, **kwargs)
        validated = self.message_hub.runtime_info.get("validated_epoch", 0)
        if is_main_process():
            forget_after(Path(self.work_dir) / "scalars.json", self.iter, validated)

    def dump_config(self):
        """Write nothing: LocalVisBackend saves the resolved config, and mmengine's default may overwrite model.py."""

    @property
    def network(self):
        """The model without what several processes wrap around it."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    @master_only
    def save_checkpoint(self, out_dir, filename, **kwargs):
        """Write under a temporary name first: a full disk or a kill keeps the last good file."""
        with replacing(Path(out_dir) / filename) as temporary:
            super().save_checkpoint(out_dir, temporary.name, **kwargs)

    def load_checkpoint(self, filename, map_location="cpu", strict=False, revise_keys=()):
        """Read a checkpoint without unpickling objects, and load its weights into the model."""
        checkpoint = read_checkpoint(filename, trust=self.cfg.get("trust_checkpoint", False))
        if self._resume:  # before loading, because EMAHook exchanges the average and the weights proper
            self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        report = load_state(self.network, checkpoint["state_dict"], classes_of(checkpoint), self.cfg.instseg.classes)
        if not self._resume:
            self.call_hook("after_load_checkpoint", checkpoint={**checkpoint, "state_dict": self.network.state_dict()})
        if not self._has_loaded:  # later ones are this run's own
            table("", (f"tensors of {Path(filename).name}", "", ""), report.rows())
        self._has_loaded = True
        return checkpoint


def forget_after(scalars_json, step, epoch):
    """Drop the lines of training steps after `step` and of validations after `epoch`, and a last line that a kill cut off."""
    if scalars_json.is_file():
        lines = [line for line in scalars_json.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if (record := json.loads(line))["step"] <= (step if "lr" in record else epoch)]
        write_text(scalars_json, "".join(line + "\n" for line in kept))
