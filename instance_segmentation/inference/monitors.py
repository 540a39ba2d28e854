"""Load of the machine, drawn into the picture: `c` processor, `d` its distribution over the cores, `m` memory. Needs no torch."""

import time
from collections import deque

import cv2
import numpy as np

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.drawing import FONT

KINDS = {"c": "CPU", "d": "cores", "m": "memory"}
EVERY_S, KEPT = 0.5, 60  # a new value twice a second, half a minute of them
GREEN = (80, 200, 80)


class Monitors:
    """Panels that can be switched on and off.

    Args:
        letters: Those that are shown at first, for example `cdm` or `c,m`; `h` hides all.

    Raises:
        MediaError: There is no such monitor.
    """

    def __init__(self, letters=""):
        self.shown = dict.fromkeys(KINDS, False)
        for letter in letters.lower().replace(",", "").replace(" ", ""):
            if not self.toggle(letter):
                raise MediaError(f"-u {letters}: there is no monitor '{letter}'; expected letters of c (CPU), d (distribution "
                                 "over the cores), m (memory)")
        self.history, self.cores, self.sampled = {"c": deque(maxlen=KEPT), "m": deque(maxlen=KEPT)}, [], 0.0

    def toggle(self, letter):
        """Switch a monitor on or off, all off with `h`; returns whether there is such a monitor."""
        if letter == "h":
            self.shown = dict.fromkeys(KINDS, False)
        elif letter in KINDS:
            self.shown[letter] = not self.shown[letter]
        return letter == "h" or letter in KINDS

    def draw(self, canvas):
        """Draw the panels along the lower edge, in place."""
        if not any(self.shown.values()):
            return
        self._sample()
        height, width = max(24, canvas.shape[0] // 6), max(48, canvas.shape[1] // 5)
        for place, letter in enumerate(letter for letter, on in self.shown.items() if on):
            panel = canvas[-height:, place * width:(place + 1) * width]
            panel //= 3  # the picture shows through
            self._panel(panel, letter)

    def _sample(self):
        import psutil
        if time.monotonic() - self.sampled < EVERY_S:
            return
        self.sampled, self.cores = time.monotonic(), psutil.cpu_percent(percpu=True)
        self.history["c"].append(sum(self.cores) / len(self.cores))
        self.history["m"].append(psutil.virtual_memory().percent)

    def _panel(self, panel, letter):
        """One panel: a line of the last half minute, or a bar per core; 100 % is its full height."""
        height, width = panel.shape[:2]
        if letter == "d":
            edges = np.linspace(0, width, len(self.cores) + 1).astype(int)
            for left, right, load in zip(edges[:-1], edges[1:], self.cores, strict=True):
                panel[round(height * (1 - load / 100)):, left + 1:right - 1] = GREEN
            text = f"{KINDS[letter]}: {len(self.cores)}"
        else:
            values = np.array(self.history[letter])
            points = np.stack([np.linspace(0, width - 1, len(values)), (height - 1) * (1 - values / 100)], 1)
            cv2.polylines(panel, [points.round().astype(np.int32)], False, GREEN, 1, cv2.LINE_AA)
            text = f"{KINDS[letter]}: {values[-1]:.0f} %"
        cv2.putText(panel, text, (3, 12), FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
