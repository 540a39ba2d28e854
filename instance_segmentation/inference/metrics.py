"""What a pipeline measures while it runs: frames per second, latency, and the time of each stage. Needs no torch."""

import time
from collections import deque
from contextlib import contextmanager

STAGES = ("Decoding", "Preprocessing", "Inference", "Postprocessing", "Rendering")
RECENT = 30  # frames whose average is shown while running


class Metrics:
    """Times of a run, in seconds.

    Attributes:
        spent: Stage → seconds in all.
        frames: Number of finished frames.
    """

    def __init__(self):
        self.spent, self.frames = dict.fromkeys(STAGES, 0.0), 0
        self.waited, self.first, self.last = 0.0, None, None
        self.recent = deque(maxlen=RECENT)  # (when it was finished, how long it took from its reading)

    @contextmanager
    def stage(self, name):
        """Add the time of a `with` block to a stage."""
        began = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - began)

    def add(self, name, seconds):
        """Add to a stage."""
        self.spent[name] += seconds

    def finished(self, began):
        """Count a frame whose reading began at `began` (time.perf_counter)."""
        now = time.perf_counter()
        self.first, self.last, self.frames = self.first or began, now, self.frames + 1
        self.waited += now - began
        self.recent.append((now, now - began))

    def now(self):
        """Frames per second and latency in seconds of the last frames; None before the second one."""
        if len(self.recent) < 2:
            return None
        seconds = self.recent[-1][0] - self.recent[0][0]
        return (len(self.recent) - 1) / max(seconds, 1e-9), sum(wait for _, wait in self.recent) / len(self.recent)

    def report(self):
        """Rows (name, text) for the table at the end; FPS over all frames, the rest in milliseconds per frame."""
        rows = [("FPS", f"{self.frames / max(self.last - self.first, 1e-9):.1f}"),
                ("Latency", f"{1000 * self.waited / self.frames:.1f} ms")]
        return rows + [(name, f"{1000 * seconds / self.frames:.1f} ms") for name, seconds in self.spent.items()]
