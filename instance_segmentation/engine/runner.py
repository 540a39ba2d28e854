"""mmengine's Runner with safe reading, atomic writing and a quiet terminal."""

import logging
import os
from pathlib import Path

from mmengine.runner import Runner

from instance_segmentation.engine.checkpoint import load_state, read_checkpoint
from instance_segmentation.report import table


def is_news(record):
    """Keep mmengine's deprecation notes about its own calls off the terminal; they say nothing to the user."""
    return "FileClient" not in record.getMessage() and "HardDiskBackend" not in record.getMessage()


class FineTuneRunner(Runner):
    """The loop, hooks and scheduling are mmengine's; this class only changes files and noise."""

    def build_logger(self, *args, **kwargs):
        """Log everything to the run's file, and only warnings to the terminal."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
                handler.addFilter(is_news)
        return logger

    def dump_config(self):
        """Write nothing: LocalVisBackend saves the resolved config, and mmengine's default may overwrite model.py."""

    def save_checkpoint(self, out_dir, filename, **kwargs):
        """Write under a temporary name first: a full disk or a kill keeps the last good file."""
        temporary = f"{filename}.tmp"
        try:
            super().save_checkpoint(out_dir, temporary, **kwargs)
            os.replace(Path(out_dir) / temporary, Path(out_dir) / filename)
        finally:
            (Path(out_dir) / temporary).unlink(missing_ok=True)

    def load_checkpoint(self, filename, map_location="cpu", strict=False, revise_keys=()):
        """Read a checkpoint without unpickling objects, and load its weights into the model."""
        checkpoint = read_checkpoint(filename, trust=self.cfg.get("trust_checkpoint", False))
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        report = load_state(self.model, checkpoint["state_dict"])
        table("", (f"tensors of {Path(filename).name}", "", ""), report.rows())
        self._has_loaded = True
        return checkpoint
