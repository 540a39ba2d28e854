"""Numbers in, PNG or SVG out: the only place that imports matplotlib."""

import io
import json
from itertools import accumulate
from pathlib import Path

from instance_segmentation.records.runs import read_scalars
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
    lines = read_scalars(scalars_json)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    _series(left, [line for line in lines if "loss" in line], LOSSES)
    if seen := validation_losses(lines):
        left.plot(*zip(*seen, strict=True), "ko--", label="validation, total")
    left.set(title="Losses", xlabel="step", yscale="log")
    _series(right, [line for line in lines if "segm/AP" in line], SCORES, marker="o")
    right.set(title="Validation", xlabel="epoch", ylim=(0, 1))
    _finish(figure, (left, right), output_png)


def compared_curves(runs, output_png):
    """Draw several runs' losses and mask AP per epoch into one picture; `runs` is title → records as of `training_curves`."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for index, (title, lines) in enumerate(runs.items()):
        style = dict(color=f"C{index}")
        label = title.replace("$", r"\$")  # names of folders are no formulas
        _series(left, [line for line in lines if "loss" in line], dict(loss=label), **style)
        if seen := validation_losses(lines):
            left.plot(*zip(*seen, strict=True), "o--", **style)
        _series(right, [line for line in lines if "segm/AP" in line], {"segm/AP": label}, marker="o", **style)
    left.set(title="Loss; dashed: of the validation", xlabel="step", yscale="log")
    right.set(title="Mask AP of the validation", xlabel="epoch", ylim=(0, 1))
    _finish(figure, (left, right), output_png)


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
    right.set(xlabel="learning rate", xscale="log")
    _finish(figure, (left, right), output_png)


def _finish(figure, pair, output_png):
    """Add grids and legends, and write the picture."""
    from matplotlib import pyplot
    for axes in pair:
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with replacing(output_png) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    pyplot.close(figure)


def over_epochs(epochs, values, output_png):
    """Draw a line per name.

    Args:
        epochs: Numbers of the epochs.
        values: Name → a number per epoch.
        output_png: The picture.
    """
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for name, line in values.items():
        axes.plot(epochs, line, marker=".", label=name)
    axes.set(xlabel="epoch")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(output_png, dpi=110)
    pyplot.close(figure)


def _series(axes, lines, labels, **style):
    for key, label in labels.items():
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)


def curves_svg(curves, xlabel, ylabel):
    """Draw curves over [0, 1] × [0, 1], without any name in the picture: their legend is the page's.

    Args:
        curves: List of (xs, ys, colour as #rrggbb); the last one is drawn bold, over the others.
        xlabel, ylabel: Of the axes.

    Returns:
        The picture as SVG text.
    """
    def draw(axes):
        for xs, ys, colour in curves[:-1]:
            axes.plot(xs, ys, color=colour, linewidth=1.2)
        if curves:
            axes.plot(*curves[-1][:2], color=curves[-1][2], linewidth=2.5)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    return _svg(draw)


def histogram_svg(groups, xlabel, ylabel):
    """Draw numbers between 0 and 1 as stacked bars of a twentieth; `groups` are (numbers, label, colour as #rrggbb)."""
    def draw(axes):
        values, labels, colours = zip(*groups, strict=True)
        axes.hist(values, bins=20, range=(0, 1), stacked=True, label=labels, color=colours)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1))
        axes.legend()
    return _svg(draw)


def _svg(draw):
    """What `draw(axes)` draws, as SVG whose text stays text; the same numbers give the same bytes."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "instseg", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(4.6, 3.4), layout="constrained")
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict(Date=None))
        pyplot.close(figure)
    return text.getvalue()
