"""Read the folder of a training: its lock, and what was measured while it ran. Needs no torch."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from instance_segmentation.errors import TrainingError
from instance_segmentation.records.run_lock import read_lock


@dataclass(frozen=True)
class Run:
    """A training that has been validated or not yet.

    Attributes:
        folder: Its output folder.
        lock: As of `read_lock`; None for a run of a version that wrote none.
        scalars: Records of scalars.json in their order: training steps have `loss`, validations `segm/AP`.
    """

    folder: Path
    lock: dict | None
    scalars: list

    @property
    def name(self):
        """The folder's name, with its parent's where it is only `outputs`."""
        return self.folder.name if self.folder.name != "outputs" else f"{self.folder.parent.name}/outputs"

    @property
    def validations(self):
        """Records of the validations, in the order of the epochs (`step`)."""
        return [record for record in self.scalars if "segm/AP" in record]

    @property
    def best(self):
        """The validation of the highest segm AP; None when none scored."""
        scored = [record for record in self.validations if not math.isnan(record["segm/AP"])]
        return max(scored, key=lambda record: record["segm/AP"], default=None)

    def the_lock(self):
        """The lock; raises TrainingError when there is none."""
        if self.lock is None:
            raise TrainingError(f"{self.folder}: has no run.lock.yaml, because an earlier version trained it; how it was made is "
                                "not known exactly. Train again")
        return self.lock


def read_run(folder):
    """Read a training's output folder, or that of a work dir.

    Raises:
        TrainingError: Nothing was trained there.
    """
    folder = Path(folder).resolve()
    place = next((place for place in (folder, folder / "outputs") if (place / "scalars.json").is_file()), None)
    if place is None:
        raise TrainingError(f"{folder}: is not a training's folder, scalars.json is missing; give the folder of best.pth, or its "
                            "work dir")
    return Run(place, read_lock(place), read_scalars(place / "scalars.json"))


def read_scalars(path):
    """The records of a scalars.json, JSON lines as LocalVisBackend writes them."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
