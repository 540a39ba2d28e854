"""Where a training begins: random weights, a checkpoint's weights, or the exact state of a run that ended early."""

from dataclasses import dataclass, field
from pathlib import Path

from instance_segmentation.errors import TrainingError

# What a resumed run keeps where its command leaves them out
KEPT = ("epochs", "batch_size", "base_learning_rate", "accumulate", "clip_grad", "frozen_stages", "norm_eval", "no_flip")
SAME_RUN = dict(ema="--ema", augment="--augment", balance_classes="--balance-classes")  # what a resumed run must not change

STATE = {"optimizer", "param_schedulers", "message_hub"}  # what the checkpoints of a run hold besides weights


@dataclass(frozen=True)
class Start:
    """The checkpoint to start from, None for random weights; whether its run goes on; what it says about its run.

    `parts` are the detector's parts that it has tensors of: backbone, neck, roi_head, …; `progress` is what the run noted about
    itself: `best_epoch`, `best_score`, `steps_per_epoch`, …
    """

    weights: Path | None
    resumed: bool
    meta: dict
    parts: frozenset = frozenset()
    progress: dict = field(default_factory=dict)

    @property
    def own(self):
        """What only checkpoints of ours say.

        `classes`, `input_size`, `config`, `start`, `batch_size`, SAME_RUN of the run, its `run` and the flags KEPT (`flags`).
        """
        return self.meta.get("instseg") or {}

    @property
    def run(self):
        """What tells one run from others; earlier versions gave it no name."""
        return self.own.get("run") or (self.meta.get("seed"), tuple(self.own.get("classes", ())))

    @property
    def place(self):
        """Epochs and steps that are finished."""
        return self.meta.get("epoch", 0), self.meta.get("iter", 0)

    def kept(self, flags):
        """The flags with those of KEPT that were left out (None, False) as the resumed run had them."""
        own = {"batch_size": self.own.get("batch_size"), **(self.own.get("flags") or {})} if self.resumed else {}
        left_out = [name for name in KEPT if flags.get(name) is None or flags[name] is False]
        return flags | {name: own[name] for name in left_out if isinstance(own.get(name), (int, float))}  # a bool is an int

    def recipe(self, cfg):
        """Name of the Config's recipe for how the run began, however often it was resumed; None: the Config as it is."""
        if self.resumed:
            name = self.own.get("start")
        elif not self.weights:
            name = "from_random"
        else:
            beyond_backbone = {part for part, value in cfg.model.items() if isinstance(value, dict)} - {"backbone"}
            name = None if self.parts & beyond_backbone else "from_backbone"
        return name if name in cfg else None

    def what(self):
        """Where training starts, for the user."""
        if not self.weights:
            return "none given: starting from random weights"
        resumed = f"its run goes on after step {self.place[1]}"
        return f"{self.weights}: " + (resumed if self.resumed else "a backbone alone, all other parts start fresh")

    @property
    def normalisation(self):
        """Mean, standard deviation and channel order that the weights were trained with; None when they do not say."""
        model = self.own.get("config", {}).get("model", {})
        return {key: model["data_preprocessor"][key] for key in ("mean", "std", "bgr_to_rgb")} if model else None

    def check(self, classes, seed, flags):
        """Refuse to continue a run with other classes, another seed, other flags of SAME_RUN, or to fewer epochs than it has.

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
        for name, flag in SAME_RUN.items():
            was, now = self.own.get(name) or None, flags.get(name) or None
            if was != now:
                raise TrainingError(f"{what} was made {f'with {_spelt(flag, was)}' if was else f'without {flag}'}; "
                                    f"{f'add {_spelt(flag, was)}' if was else 'leave it out'}")
        if (flags.get("epochs") or self.place[0]) < self.place[0]:
            raise TrainingError(f"{what} has been trained for {self.place[0]} epochs; pass --epochs with at least that many")


def _spelt(flag, value):
    return flag if value is True else f"{flag} {value}"


def find_start(resume_from, load_weights, output, trust):
    """Read what the checkpoint says that `--resume-from` or `--load-weights` mean.

    Args:
        resume_from: A checkpoint, "auto" for the latest.pth of `output` if there is one, or None.
        load_weights: A checkpoint or None; `resume_from` goes first.
        output: Folder of the run's checkpoints.
        trust: Unpickle arbitrary objects.

    Raises:
        WeightsError: The checkpoint cannot be read safely.
        TrainingError: There is no run in it that could be resumed.
    """
    if str(resume_from) == "auto":
        resume_from = output / "latest.pth" if (output / "latest.pth").is_file() else None
    weights = resume_from or load_weights
    if not weights:
        return Start(None, False, {})
    from instance_segmentation.engine.checkpoint import read_checkpoint
    checkpoint = read_checkpoint(weights, trust=trust)
    parts = frozenset(name.split(".")[0] for name in checkpoint["state_dict"])
    if resume_from and not (checkpoint.keys() >= STATE and "epoch" in checkpoint["meta"]):
        raise TrainingError(f"--resume-from {weights}: holds weights, but not the state of a run of this tool; start from them "
                            "with --load-weights")
    progress = checkpoint.get("message_hub", {}).get("runtime_info", {}) if resume_from else {}
    return Start(weights, bool(resume_from), checkpoint["meta"], parts, progress)
