"""Write down what a trained model is, what it learnt from and how good it is, for those who get only the model."""

import json
from collections import Counter
from pathlib import Path

import msgspec

from instance_segmentation.errors import TrainingError
from instance_segmentation.records.pages import render
from instance_segmentation.records.runs import read_run
from instance_segmentation.report import file_record, say, write_text

KEYS = ("segm/AP", "segm/AP50", "bbox/AP", "bbox/AP50")
FEW = 50  # objects of a class; the standard error of a recall is then up to 7 %


class _Object(msgspec.Struct):
    category_id: int
    iscrowd: int


class _Category(msgspec.Struct):
    id: int
    name: str


class _Split(msgspec.Struct):
    categories: list[_Category]
    annotations: list[_Object]


def card(run, *, metrics=(), save_card_to=None):
    """Write a model card in Markdown from a run's run.lock.yaml, its validations and its data.

    Args:
        run: The training's output folder, or its work dir.
        metrics: metrics.json files of eval.py, to be listed too.
        save_card_to: `model_card.md` in the run's folder when None.

    Returns:
        Path of the card.

    Raises:
        TrainingError: There is no lock, or a file of `metrics` is none.
    """
    run = read_run(run)
    lock, evaluations = run.the_lock(), [_read_metrics(path) for path in metrics]
    splits = {split: run.folder / f"{split}.json" for split in ("train", "val")}
    objects = {split: _count(path) for split, path in splits.items()} if all(map(Path.is_file, splits.values())) else {}
    weights = next((path for path in (run.folder / "best.pth", run.folder / "latest.pth") if path.is_file()), None)
    scarce = [name for name in lock["settings"]["classes"] if any(split[name] < FEW for split in objects.values())]
    text = render("card.md", run=run, lock=lock, best=run.best, keys=KEYS, objects=objects, evaluations=evaluations, few=FEW,
                  scarce=scarce, tiled=lock["flags"].get("tile"), files=[file_record(weights)] if weights else [])
    path = Path(save_card_to or run.folder / "model_card.md")
    write_text(path, text)
    say("Card", f"{path}; add by hand what the model is meant for, and the licence of data and weights")
    return path


def _count(path):
    """Objects of each class in a normalised file, crowds left out."""
    split = msgspec.json.decode(path.read_bytes(), type=_Split)
    number = Counter(item.category_id for item in split.annotations if not item.iscrowd)
    return {category.name: number[category.id] for category in split.categories}


def _read_metrics(path):
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = {"files", "metrics", "images", "ms_per_image"} - content.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"--metrics {path}: cannot be read as a metrics.json of eval.py ({error})") from error
    if missing:
        raise TrainingError(f"--metrics {path}: is no metrics.json of eval.py, {', '.join(sorted(missing))} missing")
    return content
