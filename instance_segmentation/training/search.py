"""The trials of a search: drawn by Optuna, trained one after the other, remembered in its study. Needs Optuna."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from shlex import join

import optuna
from optuna.trial import TrialState

from instance_segmentation.errors import DiskFullError, TrainingError
from instance_segmentation.report import number, say, table, write_metrics_json
from instance_segmentation.training.processes import launch

RANDOM = 5  # trials before TPE has something to go by
GIVE_UP = 3  # failures one after the other: it is not the recipes


@dataclass(frozen=True)
class SearchResult:
    """The best trial: its number from 1, what was drawn for it, its segm AP in [0, 1], its checkpoint."""

    trial: int
    drawn: dict
    segm_ap: float
    checkpoint: Path


class Search:
    """Trials that are made one after the other; everything that must be remembered is in the study.

    Args:
        study: Of `engine.pruning.open_study`, in `folder`.
        work: The opened work dir.
        folder: Gets trials.json, trials.png, best.pth and a folder for each trial.
        options: Of `train`, the same for all trials.
        space: What to draw from, see `tuning.find_space`.
        processes: How many train together.
    """

    def __init__(self, study, work, folder, options, space, processes):
        self.study, self.work, self.folder = study, work, folder
        self.options, self.space, self.processes = options, space, processes

    def begin(self, first):
        """Propose the first recipe and remember the options; or check that they are those of before.

        Raises:
            TrainingError: They are not.
        """
        lasting = {key: value for key, value in self.options.items()
                   if value is not None and value is not False and key != "num_workers"}
        asked, known = json.loads(json.dumps({**lasting, **self.space}, default=str)), self.study.user_attrs.get("options")
        if known is None:
            self.study.enqueue_trial(first, skip_if_exists=True)
            self.study.set_user_attr("options", asked)
        elif other := [key for key in asked.keys() | known.keys() if asked.get(key) != known.get(key)]:
            what = ", ".join(f"{key.replace('_', ' ')} {known.get(key)}, not {asked.get(key)}" for key in sorted(other))
            raise TrainingError(f"{self.folder}: the search there was begun with {what}; repeat its flags to go on, or name "
                                "another folder by --save-search-to")

    def run(self, trials, end):
        """Make trials until there are so many, or until `end` on the monotonic clock; one that was cut off goes on first."""
        try:
            while (done := len(self.ended())) < trials and time.monotonic() < end:
                trial = self.next(done)
                say(f"Trial {trial.number + 1}/{trials}", describe(drawn := self.draw(trial)))
                self.make(trial, drawn)
                self.keep()
        except (KeyboardInterrupt, DiskFullError):
            say("Search", f"stored in {self.folder}; the same command goes on where it stopped")
            raise

    def ended(self):
        """The trials that need no more work."""
        return [trial for trial in self.study.trials if trial.state.is_finished()]

    def next(self, done):
        """The trial that was cut off, or the next; what is drawn depends on the seed and on the trials before."""
        seed, cut_off = self.options["seed"], self.study.get_trials(states=[TrialState.RUNNING])
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM, seed=None if seed is None else seed + done)
        return optuna.Trial(self.study, cut_off[0]._trial_id) if cut_off else self.study.ask()

    def draw(self, trial):
        """The options of `train` that are searched for; those of a trial that was cut off stay what they were."""
        low, high = self.space["base_learning_rate"]
        return dict(base_learning_rate=trial.suggest_float("base_learning_rate", low, high, log=True),
                    epochs=trial.suggest_categorical("epochs", self.space["epochs"]),
                    augment=trial.suggest_categorical("augment", self.space["augment"]))

    def make(self, trial, drawn):
        """Train a trial to its end, and tell the study how it ended.

        Raises:
            TrainingError: GIVE_UP trials failed one after the other.
        """
        hook = dict(file=str(self.folder / "search.db"), trial_id=trial._trial_id)
        try:
            # A rate that explodes shall be known as such: not be halved
            launch(self.processes, self.work.path, {**self.options, **drawn, "max_rollbacks": 0, "search": hook,
                                                    "save_checkpoints_to": self.place(trial), "resume_from": "auto"})
        except DiskFullError:
            raise
        except TrainingError as error:
            self.fail(trial, str(error))
            return
        trained = self.study.trials[trial.number]
        if trained.last_step < drawn["epochs"]:
            self.study.tell(trial, state=TrialState.PRUNED)
            say("Pruned", f"after epoch {trained.last_step}: less than the median of the other trials")
        elif math.isnan(best_epoch(trained)[1]):
            self.fail(trial, "segm AP is not defined: the validation images show no object of the classes")
        else:
            self.study.tell(trial, best_epoch(trained)[1])

    def fail(self, trial, reason):
        """Note why a trial failed; raises TrainingError when others just failed, too."""
        trial.set_user_attr("error", reason)
        self.study.tell(trial, state=TrialState.FAIL)
        say("Failed", reason)
        if [each.state for each in self.ended()[-GIVE_UP:]] == GIVE_UP * [TrialState.FAIL]:
            raise TrainingError(f"{GIVE_UP} trials failed one after the other, the last: {reason}")

    def place(self, trial):
        """Where a trial's training writes."""
        return self.folder / f"trial_{trial.number + 1:03}"

    def best(self):
        """The trial with the highest segm AP of those that were trained to their end; None when there is none."""
        return max(self.study.get_trials(states=[TrialState.COMPLETE]), key=lambda trial: trial.value, default=None)

    def keep(self):
        """Give the best trial's checkpoint its place, drop all others, and write what is known; returns the records."""
        from instance_segmentation.engine.keep_checkpoints import link
        from instance_segmentation.plots import search_trials
        best, ended = self.best(), self.ended()
        if best and (own := self.place(best) / "best.pth").is_file():
            link(own, self.folder / "best.pth")
        for file in [file for trial in ended for file in self.place(trial).glob("*.pth")]:
            file.unlink()
        records = [record(trial, best and trial.number == best.number) for trial in ended]
        write_metrics_json(self.folder / "trials.json", records)
        search_trials(self.folder / "trials.json", self.folder / "trials.png")
        return records

    def finish(self):
        """Print the trials, the best first, and how to train that one again.

        Raises:
            TrainingError: No trial was trained to its end.
        """
        records, best = self.keep(), self.best()
        if not best:
            raise TrainingError(f"no trial was trained to its end; {self.folder / 'trials.json'} says why")
        table("", ("trial", "rate", "epochs", "augment", "segm AP", "in epoch", ""), [
            (row["trial"], f"{row['base_learning_rate']:.3g}", row["epochs"], row["augment"], number(row["segm_ap"]),
             row["best_epoch"] or "–", row["ended"][:60])
            for row in sorted(records, key=lambda row: (math.isnan(row["segm_ap"]), -row["segm_ap"]))])
        say("Trials", f"{self.folder / 'trials.json'} and trials.png")
        say("Weights", f"{self.folder / 'best.pth'}, of trial {best.number + 1}, segm AP {best.value:.3f}")
        say("Next", train_command(self.work.path / "train.py", {**self.options, **best.params}))
        return SearchResult(best.number + 1, best.params, best.value, self.folder / "best.pth")


def best_epoch(trial):
    """A trial's best epoch and its segm AP; None and NaN when no epoch has one."""
    known = [(epoch, ap) for epoch, ap in trial.intermediate_values.items() if not math.isnan(ap)]
    return max(known, key=lambda pair: pair[1], default=(None, math.nan))


def record(trial, is_best):
    """What trials.json says about a trial that ended."""
    epoch, segm_ap = best_epoch(trial)
    ended = {TrialState.COMPLETE: "best" if is_best else "", TrialState.PRUNED: f"pruned after epoch {trial.last_step}",
             TrialState.FAIL: f"failed: {trial.user_attrs.get('error')}"}[trial.state]
    return dict(trial=trial.number + 1, **trial.params, segm_ap=segm_ap, best_epoch=epoch, state=trial.state.name.lower(),
                ended=ended)


def describe(drawn):
    """A recipe in a line."""
    return f"learning rate {drawn['base_learning_rate']:.3g}, {drawn['epochs']} epochs, {drawn['augment']}"


def train_command(script, options):
    """The command line that trains with these options.

    Args:
        script: train.py of the work dir.
        options: Of `train`; paths and names in lists, `input_size` as a pair.
    """
    words = ["python", script]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [flag] if value else ["--no-norm-eval"] if name == "norm_eval" else []
        elif isinstance(value, dict):
            words += [flag, *(f"{key}={own!r}" for key, own in value.items())]
        elif isinstance(value, list):
            words += [flag, ",".join(map(str, value))]
        elif value is not None:
            words += [flag, *(value if isinstance(value, tuple) else [value])]
    return join(map(str, words))
