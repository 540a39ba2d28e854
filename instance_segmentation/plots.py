"""Numbers in, PNG out: the only place that imports matplotlib."""

import json
from itertools import accumulate
from pathlib import Path

from instance_segmentation.writing import replacing

LOSSES = {"loss": "total", "loss_rpn_cls": "proposals: class", "loss_rpn_bbox": "proposals: box", "loss_cls": "class",
          "loss_bbox": "box", "loss_mask": "mask"}
SCORES = {"segm/AP": "mask AP", "segm/AP50": "mask AP50", "bbox/AP": "box AP"}


def training_curves(scalars_json, output_png):
    """Draw losses per step and AP per epoch.

    Args:
        scalars_json: JSON lines as LocalVisBackend writes them: training lines have `loss` and `step`, validation lines
            have `segm/AP`, `step` (the epoch) and, where it was computed, `val_loss`.
        output_png: The picture.
    """
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    lines = [json.loads(line) for line in Path(scalars_json).read_text().splitlines()]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    _series(left, [line for line in lines if "loss" in line], LOSSES)
    if seen := validation_losses(lines):
        left.plot(*zip(*seen, strict=True), "ko--", label="validation, total")
    left.set(title="Losses", xlabel="step", yscale="log")
    _series(right, [line for line in lines if "segm/AP" in line], SCORES, marker="o")
    right.set(title="Validation", xlabel="epoch", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with replacing(output_png) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    pyplot.close(figure)


def validation_losses(lines):
    """The points (training step that was logged last, validation loss) of a run's records."""
    points, step = [], 0
    for line in lines:
        step = line["step"] if "loss" in line else step
        if "val_loss" in line:
            points.append((step, line["val_loss"]))
    return points


def accuracy_against_time(plan_json, output_png):
    """Draw the points of a plan.

    Args:
        plan_json: As `instseg plan` writes it: `points`, each with `precision`, `proposals`, `score_threshold`,
            `segm_ap`, `ms`, `pareto` and `recommended`.
        output_png: The picture.
    """
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    points = json.loads(Path(plan_json).read_text(encoding="utf-8"))["points"]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    unbeaten = sorted((point["ms"], point["segm_ap"]) for point in points if point["pareto"])
    axes.step(*zip(*unbeaten, strict=True), where="post", color="0.6", label="Pareto")
    for precision in dict.fromkeys(point["precision"] for point in points):
        own = [point for point in points if point["precision"] == precision]
        axes.scatter([point["ms"] for point in own], [point["segm_ap"] for point in own], label=precision)
    for point in points:
        axes.annotate(f"{point['proposals']}, {point['score_threshold']:g}", (point["ms"], point["segm_ap"]), xytext=(4, 4),
                      textcoords="offset points", fontsize=7)
        if point["recommended"]:
            axes.scatter(point["ms"], point["segm_ap"], s=160, facecolors="none", edgecolors="k", label="recommended")
    axes.set(title="Beside the points: proposals, score threshold", xlabel="milliseconds per image", ylabel="segm AP")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output_png, dpi=110)
    pyplot.close(figure)


def search_trials(trials_json, output_png):
    """Draw the segm AP of a search's trials: in their order, and over the learning rate.

    Args:
        trials_json: As `instseg tune` writes it: a list of trials, each with its number `trial`, `base_learning_rate`, `epochs`,
            `augment`, `segm_ap` (None where there is none) and `state`: complete, pruned or fail.
        output_png: The picture.
    """
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    trials = [trial for trial in json.loads(Path(trials_json).read_text(encoding="utf-8")) if trial["segm_ap"] is not None]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained", sharey=True)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    left.step([trial["trial"] for trial in complete], list(accumulate((trial["segm_ap"] for trial in complete), max)),
              where="post", color="0.6", label="best so far")
    for augment in dict.fromkeys(trial["augment"] for trial in trials):
        own = [trial for trial in trials if trial["augment"] == augment]
        style = dict(s=[10 + 4 * trial["epochs"] for trial in own], label=augment,
                     edgecolors=["none" if trial["state"] == "complete" else "k" for trial in own])
        for axes, key in ((left, "trial"), (right, "base_learning_rate")):
            axes.scatter([trial[key] for trial in own], [trial["segm_ap"] for trial in own], **style)
    left.set(title="Framed: pruned or failed; larger: more epochs", xlabel="trial", ylabel="segm AP of the best epoch")
    left.legend()
    right.set(xlabel="learning rate", xscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing(output_png) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    pyplot.close(figure)


def _series(axes, lines, labels, **style):
    for key, label in labels.items():
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
