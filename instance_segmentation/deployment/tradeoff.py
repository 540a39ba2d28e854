"""Points of accuracy against time: which are worth timing, which are not beaten, which one to take. Needs no torch."""

import math
from dataclasses import dataclass

from instance_segmentation.report import number, table


@dataclass(frozen=True)
class Point:
    """One way to run a network, and what it gives.

    Attributes:
        precision: `FP32`, `FP16` or `INT8` weights, with `, BF16 hint` when float32 is computed in bfloat16.
        proposals, score_threshold: The graph's `ir.limits.Limits`.
        segm_ap: On the validation images, in [0, 1].
        ms: Median milliseconds per image, one at a time; NaN when not timed.
        images_per_second: Several at a time; NaN when not timed.
    """

    precision: str
    proposals: int
    score_threshold: float
    segm_ap: float
    ms: float = math.nan
    images_per_second: float = math.nan


def worth_timing(points):
    """Leave out what cannot win: something that is less work in the same precision finds as much."""
    return [point for point in points
            if not any(_less_work(other, point) and other.segm_ap >= point.segm_ap for other in points)]


def _less_work(one, other):
    """Whether `one` has fewer proposals or a higher score threshold than `other`, and nothing that takes more time."""
    return (one.precision == other.precision and one.proposals <= other.proposals and one.score_threshold >= other.score_threshold
            and (one.proposals, one.score_threshold) != (other.proposals, other.score_threshold))


def pareto(points):
    """The points that no other beats in accuracy or time without losing in the other of the two."""
    return [point for point in points if not any(
        other.segm_ap >= point.segm_ap and other.ms <= point.ms and (other.segm_ap, other.ms) != (point.segm_ap, point.ms)
        for other in points)]


def recommend(points, max_drop):
    """The fastest of the points that lose at most `max_drop` segm AP beside the most accurate one."""
    best = max(point.segm_ap for point in points)
    return min((point for point in points if best - point.segm_ap <= max_drop), key=lambda point: (point.ms, -point.segm_ap))


def tell(points, recommended):
    """Print timed points, slowest first, with what they lose and win beside the first of `points`."""
    first, unbeaten = points[0], pareto(points)
    rows = [(point.precision, point.proposals, f"{point.score_threshold:g}", number(point.segm_ap, 4),
             f"{point.segm_ap - first.segm_ap:+.4f}", f"{point.ms:.1f}", f"{first.ms / point.ms:.2f}x",
             f"{point.images_per_second:.1f}", "recommended" if point == recommended else "",
             "Pareto" if point in unbeaten else "")
            for point in sorted(points, key=lambda point: -point.ms)]
    table("", ("precision", "proposals", "score >", "segm AP", "ΔAP", "ms/image", "faster", "images/s", "", ""), rows)
