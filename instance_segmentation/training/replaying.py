"""Train once more what was trained before, and compare."""

from pathlib import Path

from instance_segmentation.errors import TrainingError
from instance_segmentation.records.run_lock import as_options, differences, other_versions, relocated
from instance_segmentation.records.runs import read_run
from instance_segmentation.report import number, say, table
from instance_segmentation.templates.workdir import open_workdir


def replay(run, *, save_checkpoints_to=None, moved=(), accept_changes=False, trust_checkpoint=False):
    """Repeat a training from its run.lock.yaml: on the same machine, with the same versions, it ends with the same weights.

    Args:
        run: The training's output folder, or its work dir.
        save_checkpoints_to: Output folder, which must be new or empty; that of the run with `_replay` behind its name when None.
        moved: Pairs (folder or file then, now) of data and weights that lie elsewhere now.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint that the run started from; the run's own flag is not taken.
        accept_changes: Train although template, data or weights are not what they were.

    Returns:
        A TrainResult.

    Raises:
        TrainingError: There is no lock, something has changed, or the output folder is not empty.
    """
    from instance_segmentation.training.train import train
    run = read_run(run)
    lock = relocated(run.the_lock(), moved)
    output = Path(save_checkpoints_to or f"{run.folder}_replay").resolve()
    if output.is_dir() and any(output.iterdir()):
        raise TrainingError(f"--save-checkpoints-to {output}: is not empty; name another folder")
    work = open_workdir(run.folder / lock["work_dir"])
    if config := lock["flags"].get("config"):
        raise TrainingError(f"{run.folder}: was trained with another program than its work dir's model.py, --config {config}; "
                            "a lock may not choose what is run. Put that config into the work dir and train with train.py")
    _check(run, differences(lock, work), accept_changes)
    if others := other_versions(lock):
        say("Versions", f"are others than then, so numbers may differ: {', '.join(others)}")
    result = train(work.path, **as_options(lock["flags"]), save_checkpoints_to=output, trust_checkpoint=trust_checkpoint)
    _compare(run, read_run(output))
    return result


def _check(run, changes, accept_changes):
    listed = "".join(f"\n  {change}" for change in changes)
    if changes and not accept_changes:
        raise TrainingError(f"{run.folder}: cannot be repeated, because something is not as it was:{listed}\nPut it back, or "
                            "pass --accept-changes to train with what is there now")
    if changes:
        say("Changed", f"accepted by --accept-changes:{listed}")


def _compare(before, after):
    """Print both runs' validations side by side."""
    now = {record["step"]: record for record in after.validations}
    keys = ("segm/AP", "bbox/AP", "val_loss")
    both = [(then, now[then["step"]]) for then in before.validations if then["step"] in now]
    table("", ("epoch", "segm AP then", "now", "bbox AP then", "now", "val loss then", "now"),
          [(then["step"], *(number(record.get(key)) for key in keys for record in (then, again))) for then, again in both])
    same = len(now) == len(before.validations) and all(
        repr(then.get(key)) == repr(again.get(key)) for then, again in both for key in keys)
    say("Replayed", "every validation gave the same numbers to the last digit" if same else
        "the validations differ; the same numbers need the same machine, versions and number of threads")
