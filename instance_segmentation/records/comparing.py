"""Put trainings side by side: what they reached, in which settings they differ, their curves in one picture."""

from pathlib import Path

from instance_segmentation.errors import TrainingError
from instance_segmentation.records.runs import read_run
from instance_segmentation.report import number, say, table

METRICS = ("segm/AP", "segm/AP50", "segm/AP75", "segm/APs", "segm/APm", "segm/APl", "bbox/AP", "bbox/AP50", "val_loss")
PARTS = ("flags", "settings", "template", "data", "weights", "versions", "machine")  # of a lock: what a run was made of


def compare(runs, *, save_picture_to="compare.png"):
    """Print the runs' best validations and the settings that differ, and draw their curves.

    Args:
        runs: Output folders of trainings, or work dirs; two or more.
        save_picture_to: PNG file of the curves.

    Returns:
        Name of a setting → its value in each run (None where it has none), for those that differ.

    Raises:
        TrainingError: Fewer than two runs, or nothing was trained in one of the folders.
    """
    from instance_segmentation.plots import compared_curves
    if len(runs) < 2:
        raise TrainingError(f"got {len(runs)} run, expected two or more: instseg compare RUN RUN")
    runs = [read_run(run) for run in runs]
    titles = [f"{index}: {run.name}" for index, run in enumerate(runs, 1)]
    tell_metrics(runs, titles)
    differing = differing_settings([run.lock or {} for run in runs])
    if differing:
        table("", ("differs", *titles), [(name, *map(_short, values)) for name, values in differing.items()])
    elif all(run.lock for run in runs):
        say("Settings", "are the same in all")
    for run in runs:
        if not run.lock:
            say("", f"{run.folder} has no run.lock.yaml: an earlier version trained it, and its settings are not known")
    compared_curves(dict(zip(titles, (run.scalars for run in runs), strict=True)), Path(save_picture_to))
    say("Picture", str(save_picture_to))
    return differing


def tell_metrics(runs, titles):
    """Print what each run's best validation measured; classes that only some of them know are `–` in the others."""
    bests = [run.best or {} for run in runs]
    classes = dict.fromkeys(key for best in bests for key in best if key.startswith("segm/AP/"))
    rows = [("best epoch", *(best.get("step", "–") for best in bests)), ("validations", *(len(run.validations) for run in runs))]
    rows += [(key, *(number(best.get(key)) for best in bests)) for key in (*METRICS, *classes)]
    table("", ("", *titles), rows)


def differing_settings(locks):
    """Dotted name → value in each lock, for what is not the same in all; a flag that is absent is one that is off."""
    flat = [dict(_flat({part: lock.get(part) for part in PARTS})) for lock in locks]
    names = dict.fromkeys(name for lock in flat for name in lock)
    columns = {name: [lock.get(name) for lock in flat] for name in names}
    return {name: values for name, values in columns.items() if any(_set(value) != _set(values[0]) for value in values)}


def _set(value):
    return None if value is False else value


def _flat(node, path=""):
    """Yield (dotted name, value) of all values in nested dicts and lists of dicts."""
    if isinstance(node, list) and node and isinstance(node[0], dict):
        node = dict(enumerate(node, 1))
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _short(value):
    """A value on one line of a table; the beginning of a sha256 is enough to see that it differs."""
    text = "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:16]}…"
