"""Search for the learning rate, the epochs and the augmentation with which a work dir's network finds most."""

import math
import time
from pathlib import Path

from instance_segmentation import locking
from instance_segmentation.errors import TrainingError
from instance_segmentation.templates.workdir import open_workdir
from instance_segmentation.training.train import count_processes

AROUND = (0.1, 3)  # times the usual learning rate; much higher ones explode
AUGMENT = ("light", "colour", "copy-paste", "mosaic", "heavy")


def tune(work_dir, *, trials=20, timeout=None, learning_rates=None, epochs=None, augment=None, save_search_to=None, seed=0,
         gpu_num=None, nproc_per_node=None, **options):
    """Train with one recipe after the other, each in a process of its own, and keep the best one's checkpoint.

    The first recipe is the template's own, the others Optuna proposes. A trial that finds less than the median of the others
    after as many epochs is ended. All is stored: after a kill or Ctrl-C the same call goes on, in the middle of a trial.

    Args:
        work_dir: Folder made by `instantiate`.
        trials: How many there shall be in all, those of earlier calls and failed ones included.
        timeout: Minutes after which no trial is begun.
        learning_rates: Lowest and highest; AROUND the rate that `train` would take when None.
        epochs: Numbers to choose from; half the template's, the template's and twice that when None.
        augment: `train`'s augmentations to choose from; AUGMENT when None.
        save_search_to: Folder of the search, `WORK_DIR/tune` when None.
        seed: Of the search and of each training; None: another one each time.
        gpu_num, nproc_per_node: As of `train`.
        options: Of `preparing.prepare`, for every trial: the data, where to start, and what is not searched for.

    Returns:
        A `search.SearchResult`.

    Raises:
        DatasetError, TemplateError, WeightsError, MissingExtraError: No trial can be trained.
        TrainingError: The search was begun with other options, or is running elsewhere; several trials failed one after the
            other, or none scored; the disk is full.
        KeyboardInterrupt: After Ctrl-C, when the trial's state was saved.
    """
    work = open_workdir(work_dir)
    gpu_num = work.template.gpu_num if gpu_num is None else gpu_num
    processes = count_processes(gpu_num, nproc_per_node)
    options = dict(options, gpu_num=gpu_num, nproc_per_node=nproc_per_node, seed=seed)
    first, space = find_space(work, options, processes, learning_rates, epochs, augment)
    folder = Path(save_search_to or work.path / "tune").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        from instance_segmentation.engine.pruning import open_study
        study = open_study(folder / "search.db")
        from instance_segmentation.training.search import Search
        search = Search(study, work, folder, options, space, processes)
        search.begin(first)
        search.run(trials, math.inf if timeout is None else time.monotonic() + 60 * timeout)
        return search.finish()


def find_space(work, options, processes, learning_rates, epochs, augment):
    """What to draw from, and the template's own recipe as far as it lies within.

    Returns:
        Two dicts with the keys base_learning_rate, epochs and augment. The first holds values; the second the lowest and the
        highest rate, and lists to choose from.

    Raises:
        TemplateError, TrainingError: A value cannot be used, or another option decides what is searched for.
    """
    from instance_segmentation.engine.augmentation import check_augmentation
    rate, usual = usual_rate(work, options, processes), work.template.hyper_parameters.basic.epochs
    low, high = learning_rates or [factor * rate for factor in AROUND]
    if not 0 < low <= high:
        raise TrainingError(f"--learning-rates: got {low:g} {high:g}, expected two numbers above 0, the lower one first")
    epochs = list(dict.fromkeys(epochs or (max(1, usual // 2), usual, 2 * usual)))
    augment = list(dict.fromkeys(augment or AUGMENT))
    for name in augment:
        check_augmentation(name)
    first = dict(base_learning_rate=min(max(rate, low), high), epochs=usual if usual in epochs else epochs[0],
                 augment="light" if "light" in augment else augment[0])
    return first, dict(base_learning_rate=[low, high], epochs=epochs, augment=augment)


def usual_rate(work, options, processes):
    """The learning rate that `train` takes with these options.

    Raises:
        TrainingError: One of them sets it, or leaves the batch size open.
    """
    from instance_segmentation.engine.config import read_config, train_config
    from instance_segmentation.training.starting import find_start
    cfg, basic, batch = read_config(work.config), work.template.hyper_parameters.basic, options.get("batch_size")
    if batch == "auto":
        raise TrainingError("--batch-size auto: the trials of a search need one and the same; pass a number")
    start = find_start(None, options.get("load_weights"), None, options.get("trust_checkpoint", False)).recipe(cfg)

    def rate(asked):
        return train_config(
            cfg, train_json="", val_json="", images=1, classes=["object"], output="", epochs=1, learning_rate=asked, start=start,
            batch_size=batch or basic.batch_size, usual_batch=basic.batch_size, usual_rate=basic.base_learning_rate,
            processes=processes, overrides=options.get("cfg_options"), accumulate=options.get("accumulate"),
        ).optim_wrapper.optimizer.lr

    if rate(1.0) != 1.0:
        raise TrainingError("--cfg-options: sets the learning rate, which the search decides; leave it out, or give its range by "
                            "--learning-rates LOW HIGH")
    return rate(None)


def alone(folder):
    """Let one search at a time write into a folder; a context manager."""
    return locking.alone(folder / "search.lock", lambda holder: TrainingError(
        f"{folder}: a search is running there ({holder}); wait for its end, or name another folder by --save-search-to"))
