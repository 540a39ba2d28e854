"""The folder that a run writes into: one at a time, and what other runs left there is not lost, nor taken for this one's."""

import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from instance_segmentation.errors import TrainingError, WeightsError
from instance_segmentation.locking import alone
from instance_segmentation.records.run_lock import NAME as LOCK
from instance_segmentation.records.run_lock import moved_lock
from instance_segmentation.report import say
from instance_segmentation.writing import remove_unfinished

GUARD = ".train.lock"
FILES = ("latest.pth", "best.pth", "scalars.json", "curves.png", LOCK)  # and iter_N.pth


def output_folder(work, save_checkpoints_to=None):
    """Where a run in that work dir writes."""
    return Path(save_checkpoints_to or work.path / "outputs").resolve()


@contextmanager
def occupied(output):
    """Make the folder, keep other trainings out of it, and delete what a killed one left half-written.

    A run that is refused before it writes anything leaves no folder behind.

    Raises:
        TrainingError: Another training is writing there.
    """
    def refuse(holder):
        return TrainingError(f"{output}: another training is writing there ({holder}); wait for its end, or name another folder "
                             "by --save-checkpoints-to")

    is_new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with alone(output / GUARD, refuse):
            remove_unfinished(output, "*.pth")
            yield
    finally:
        if is_new and all(path.name == GUARD for path in output.iterdir()):
            shutil.rmtree(output)


def begin_in(output, start):
    """Make room for a new run: an earlier one's files move to a folder `previous_N`.

    Returns:
        The Start, whose weights may have been among them.
    """
    _drop_unstarted(output, start.weights)
    return _follow(start, output, set_aside(output))


def continue_in(output, start):
    """Make a folder that of the run that `start` continues; what belongs to other runs, or to its own later steps, moves away.

    Curves and best.pth of the run so far are taken along from beside the checkpoint.

    Returns:
        The Start, whose checkpoint may have moved, and whether best.pth is that of the run so far; None when it has none yet.
    """
    beside = Path(start.weights).resolve().parent
    if not _is_earlier_state(output, start, beside):
        folder = set_aside(output)
        start = _follow(start, output, folder)
        beside = Path(start.weights).resolve().parent
        if (beside / "scalars.json").is_file():
            shutil.copyfile(beside / "scalars.json", output / "scalars.json")
    return start, _bring_best(output, start, beside)


def set_aside(output, names=None):
    """Move files of an earlier run to a new folder `previous_N` in `output`; returns it, None when there are none."""
    found = [output / name for name in names or FILES if (output / name).is_file()]
    found += [] if names else output.glob("iter_*.pth")
    if not found:
        return None
    numbers = [int(match[1]) for path in output.iterdir() if (match := re.fullmatch(r"previous_(\d+)", path.name))]
    folder = output / f"previous_{max(numbers, default=0) + 1}"
    folder.mkdir()
    for path in found:
        path.replace(folder / path.name)
    if (folder / LOCK).is_file():
        moved_lock(folder / LOCK, output)
    say("Set aside", f"{', '.join(path.name for path in found)} of an earlier run, now in {folder}")
    return folder


def _drop_unstarted(output, weights):
    """Delete the beginning of a run that never took a step: only start weights are in it."""
    latest = output / "latest.pth"
    if latest.is_file() and not (output / "best.pth").exists() and latest != (weights and Path(weights).resolve()):
        there = _read(latest)
        if there and there.place == (0, 0):
            for name in FILES:
                (output / name).unlink(missing_ok=True)


def _follow(start, output, folder):
    """The Start when files of `output` have moved to `folder`."""
    path = start.weights and Path(start.weights).resolve()
    moved = folder and path and path.parent == output and (folder / path.name).is_file()
    return replace(start, weights=folder / path.name) if moved else start


def _is_earlier_state(output, start, beside):
    """Whether a folder has the run that `start` continues, no further than that."""
    path = output / "latest.pth"
    if not path.is_file():
        return beside == output
    if path == Path(start.weights).resolve():
        return True
    there = _read(path)
    return bool(there) and there.run == start.run and there.place <= start.place


def _bring_best(output, start, beside):
    """Let best.pth be the best checkpoint of the run so far, wherever it is; see `continue_in`."""
    target, epoch, known = output / "best.pth", start.progress.get("best_epoch"), None
    if epoch is not None:
        places = target, beside / "best.pth", Path(start.weights)
        known = next((path for path in places if path.is_file() and _is_state_after(path, epoch, start)), None)
    if known != target and target.is_file():
        set_aside(output, ["best.pth"])
    if known and known != target:
        from instance_segmentation.engine.keep_checkpoints import link
        link(known, target)
    return None if epoch is None else known is not None


def _is_state_after(path, epoch, start):
    """Whether a checkpoint is the state of the same run at the end of that epoch."""
    state = start if path == Path(start.weights) else _read(path)
    return bool(state) and state.run == start.run and state.place == (epoch, epoch * state.progress.get("steps_per_epoch", 0))


def _read(path):
    """The Start that a checkpoint of a run would be; None when it is none."""
    from instance_segmentation.training.starting import find_start
    try:
        return find_start(path, None, path.parent, False)
    except (WeightsError, TrainingError):
        return None
