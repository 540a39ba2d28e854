"""Where a training begins: random weights, a checkpoint's weights, or the exact state of a run that ended early."""

from dataclasses import dataclass
from pathlib import Path

from instance_segmentation.errors import TrainingError


@dataclass(frozen=True)
class Start:
    """The checkpoint to start from, None for random weights; whether its run goes on; what it says about its run."""

    weights: Path | None
    resumed: bool
    meta: dict

    @property
    def own(self):
        """What only checkpoints of ours say: `classes`, `input_size`, `from_random`, `ema` and `batch_size` of the run."""
        return self.meta.get("instseg") or {}

    @property
    def from_random(self):
        """Whether the run began with random weights, however often it was resumed."""
        return self.own.get("from_random", False) if self.resumed else not self.weights

    def check(self, classes, seed, ema):
        """Refuse to continue a run with other classes, another seed or another kind of weights.

        Raises:
            TrainingError: The first difference, and what to do.
        """
        if not self.resumed or not self.own:
            return
        what = f"--resume-from {self.weights}: its run"
        if list(self.own["classes"]) != list(classes):
            raise TrainingError(f"{what} learns {', '.join(self.own['classes'])}, the data and --classes say "
                                f"{', '.join(classes)}; to learn other classes start from it with --load-weights")
        if seed is not None and seed != self.meta["seed"]:
            raise TrainingError(f"{what} has seed {self.meta['seed']}, --seed says {seed}; leave --seed out")
        if self.own.get("ema", False) != ema:
            raise TrainingError(f"{what} was made {'without' if ema else 'with'} --ema; {'leave it out' if ema else 'add --ema'}")

    def set_aside(self, output):
        """Rename an earlier run's files in `output`: a new run must not replace what took a night. Returns the new Start."""
        weights = self.weights
        for name in ("scalars.json", "latest.pth", "best.pth"):
            if (path := output / name).is_file():
                aside = path.replace(output / f"previous_{name}")
                weights = aside if weights and Path(weights).resolve() == path else weights
        return Start(weights, self.resumed, self.meta)


def find_start(resume_from, load_weights, output, trust):
    """Read what the checkpoint says that `--resume-from` or `--load-weights` mean.

    Args:
        resume_from: A checkpoint, "auto" for the latest.pth of `output` if there is one, or None.
        load_weights: A checkpoint or None; `resume_from` goes first.
        output: Folder of the run's checkpoints.
        trust: Unpickle arbitrary objects.

    Raises:
        WeightsError: The checkpoint cannot be read safely.
    """
    if str(resume_from) == "auto":
        resume_from = output / "latest.pth" if (output / "latest.pth").is_file() else None
    weights = resume_from or load_weights
    if not weights:
        return Start(None, False, {})
    from instance_segmentation.engine.checkpoint import read_checkpoint
    return Start(weights, bool(resume_from), read_checkpoint(weights, trust=trust)["meta"])
