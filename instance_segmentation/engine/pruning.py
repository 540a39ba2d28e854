"""A search as Optuna stores it, and the hook that tells it how a trial goes and ends what does not promise much."""

import math
from statistics import median

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from instance_segmentation.engine.replicas import any_process
from instance_segmentation.errors import MissingExtraError

FIRST_JUDGED = 2  # epoch; the first one lies in the warm-up
BEFORE_PRUNING = 3  # trials of the same number of epochs that must have been trained to their end


def open_study(file):
    """Open an Optuna study, or begin it; several processes may have it open.

    Args:
        file: Of SQLite, whose transactions a kill does not tear.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("tune", "A search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="instseg", storage=f"sqlite:///{file}", direction="maximize", load_if_exists=True,
        pruner=optuna.pruners.NopPruner())  # see `falls_behind`


def falls_behind(study, number):
    """Whether a trial's best segm AP lies below the median of those of as many epochs, after as many of them.

    A longer schedule warms up longer and is behind a shorter one at first, however much better it ends: only trials of the
    same length are compared.

    Args:
        study: Of Optuna.
        number: Of the trial.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    known = {epoch: ap for epoch, ap in trial.intermediate_values.items() if not math.isnan(ap)}
    epoch = trial.last_step or 0
    others = [other.intermediate_values.get(epoch, math.nan) for other in trials
              if other.state.name == "COMPLETE" and other.params.get("epochs") == trial.params.get("epochs")]
    others = [ap for ap in others if not math.isnan(ap)]
    if epoch < FIRST_JUDGED or len(others) < BEFORE_PRUNING:
        return False
    return max(known.values(), default=-math.inf) < median(others)


@HOOKS.register_module()
class StopUnpromising(Hook):
    """Report segm AP after each epoch, and end a trial that `falls_behind`.

    Args:
        file: Of the study.
        trial_id: Optuna's.
    """

    priority = "LOW"  # before KeepLatestAndBest: an epoch that counts as validated has been reported

    def __init__(self, file, trial_id):
        self.file, self.trial_id = file, trial_id

    def before_train(self, runner):
        """A trial that goes on may have been judged already."""
        if is_main_process():
            import optuna
            self.trial = optuna.Trial(open_study(self.file), self.trial_id)
        self.judge(runner)

    def after_val_epoch(self, runner, metrics=None):
        """Report, then ask."""
        if is_main_process():
            self.trial.report(metrics["segm/AP"], runner.epoch)
        self.judge(runner)

    def judge(self, runner):
        """Let all processes stop when the trial falls behind and there is training left to be saved."""
        left = runner.epoch < runner.max_epochs
        if any_process(left and is_main_process() and falls_behind(self.trial.study, self.trial.number)):
            runner.train_loop.stop_training = True
