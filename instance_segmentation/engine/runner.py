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
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner

from instance_segmentation.engine.checkpoint import classes_of, load_state, read_checkpoint
from instance_segmentation.engine.resuming import Configured, find_place, follow_config, forget_best, other_optimizer
from instance_segmentation.report import say, table, write_text
from instance_segmentation.writing import replacing

# From the terminal; from kill, systemd, docker and a cluster that needs the machine; what `sbatch --signal=USR1@120` sends before
ENDING = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1"}


@FUNCTIONS.register_module()
def outlive_sigterm(worker):
    """In a loader's process: go on working when a cluster sends SIGTERM to all processes; the last step needs its images.

    torch ends these processes by an event, and they end by themselves when their parent is gone.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def is_news(record):
    """Keep mmengine's notes off the terminal that say nothing to the user.

    They are deprecations of its own calls, that gradients are lost by a resume between two updates (ours are saved), and that
    layers which parts of a network share are given to the optimizer once.
    """
    old_news = "FileClient", "HardDiskBackend", "is lost and the result may", "is skipped since bypass_duplicate"
    return not any(words in record.getMessage() for words in old_news)


class FineTuneRunner(Runner):
    """The loop, hooks and scheduling are mmengine's; this class only changes files, interrupts and noise."""

    interrupted = 0  # number of the signal

    def build_logger(self, *args, **kwargs):
        """Log everything to the run's file, and only warnings to the terminal."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
                handler.addFilter(is_news)
        return logger

    def train(self):
        """Train; the first Ctrl-C or other signal of ENDING lets the step finish and KeepLatestAndBest save it.

        The second ends at once, and what was ignored when training began (by nohup, in a shell's background) stays ignored.
        """
        process, usual = os.getpid(), {}

        def note(number, frame):
            self.interrupted = number
            for each, handler in usual.items():
                signal.signal(each, handler)
            if os.getpid() == process:  # the loader's processes inherit this handler, and go on working
                say(ENDING[number], "finishing this step and saving it; a second one stops at once")

        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            usual.update((each, signal.getsignal(each)) for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN)
            for each in usual:
                signal.signal(each, note)
        try:
            with warnings.catch_warnings():  # mmengine's schedules count batches, with --accumulate most are no update
                warnings.filterwarnings("ignore", "Detected call of `scheduler.step", UserWarning)
                return super().train()
        finally:
            for each, handler in usual.items():
                signal.signal(each, handler)

    def end(self):
        """End a run that was interrupted and is saved, as a program does that its signal ended: exit code 128 + its number."""
        if self.interrupted in (0, signal.SIGINT):  # 0: another process's signal
            raise KeyboardInterrupt
        raise SystemExit(128 + self.interrupted)

    def load_or_resume(self):
        """Read the checkpoint to start from; later ones will know how long an epoch was."""
        super().load_or_resume()
        if self._train_loop is not None:  # an evaluation loads its weights here too
            self.message_hub.update_info("steps_per_epoch", len(self.train_dataloader))

    def resume(self, filename, **kwargs):
        """Continue a checkpoint; what scalars.json says about later steps is forgotten, they will be taken again.

        Raises:
            TrainingError: The checkpoint belongs to a run that cannot go on with this config.
        """
        configured, ratio = None if self._has_loaded else Configured.of(self), 1.0
        try:
            super().resume(filename, **kwargs)
        except ValueError as error:
            if "parameter group" not in str(error):
                raise
            raise other_optimizer(filename) from error
        if configured:  # otherwise this run's own last state, after a bad step
            ratio = find_place(self, filename)
            follow_config(self, configured, filename)
            if self.cfg.get("best_is_lost"):
                forget_best(self)
        validated = self.message_hub.runtime_info.get("validated_epoch", 0)
        if is_main_process():
            forget_after(Path(self.work_dir) / "scalars.json", self.iter, validated, ratio)

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


def forget_after(scalars_json, step, epoch, ratio=1.0):
    """Drop the lines of training steps after `step` and of validations after `epoch`, and a last line that a kill cut off.

    Args:
        scalars_json: The file, which may be missing.
        step, epoch: The last ones to be kept.
        ratio: How many of `step`'s steps are one of the file's, whose numbers are changed accordingly.
    """
    if scalars_json.is_file():
        lines = [line for line in scalars_json.read_text().splitlines() if line.endswith("}")]
        records = [(line, json.loads(line)) for line in lines]
        if ratio != 1.0:
            records = [(json.dumps(now), now) if "lr" in record else (line, record)
                       for line, record in records if (now := {**record, "step": round(ratio * record["step"])})]
        kept = [line for line, record in records if record["step"] <= (step if "lr" in record else epoch)]
        write_text(scalars_json, "".join(line + "\n" for line in kept))
