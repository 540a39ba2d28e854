"""report.html: everything about one evaluation in one file that needs no network, no script and no other file."""

import base64
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from instance_segmentation.coco.findings import spelled
from instance_segmentation.engine.matching import class_matches, confusion, f1_at, image_matches
from instance_segmentation.errors import TemplateError
from instance_segmentation.inference.drawing import Look, colour_of, draw
from instance_segmentation.ir.thresholds import thresholds
from instance_segmentation.plots import curves_svg, histogram_svg
from instance_segmentation.records import provenance
from instance_segmentation.records.pages import render
from instance_segmentation.records.runs import read_run
from instance_segmentation.report import write_text

SHOWN = 60  # classes of the curves and the confusion matrix, those with the most objects: their number squared is the file's size
PICTURES, SIDE_PX, JPEG = 4, 480, 80  # best and worst images, their longer side, their quality: some 30 kB each
FALLBACK_THRESHOLD = 0.5  # where no detection is a hit, so that no threshold is better than another
ALL_COLOUR = "#000000"
TITLES = dict(bbox="boxes", segm="masks")


@dataclass(frozen=True)
class Scored:
    """What pycocotools found out about a model's detections.

    Attributes:
        classes: Names in the order of the categories.
        evaluations, matches: `bbox` and `segm` → COCOeval, and what `class_matches` reads from it.
        together, of_class: An `ir.thresholds.Threshold` for all classes, and one per class; None without a hit.
    """

    classes: tuple
    evaluations: dict
    matches: dict
    together: object
    of_class: list

    @classmethod
    def of(cls, classes, boxes, masks):
        """Read two COCOevals that `coco_metrics` has computed."""
        evaluations = dict(bbox=boxes, segm=masks)
        matches = {kind: class_matches(evaluation) for kind, evaluation in evaluations.items()}
        return cls(tuple(classes), evaluations, matches, *thresholds(matches["segm"]))

    @property
    def threshold(self):
        """Score of the best F1 at mask IoU 0.5, from which the report counts and draws detections."""
        return self.together.score if self.together else FALLBACK_THRESHOLD

    @property
    def objects(self):
        """Number of objects per class, crowds left out."""
        return [objects for _, _, objects in self.matches["segm"]]

    def shown(self):
        """Indices of the SHOWN classes with the most objects, in label order."""
        objects = self.objects
        return sorted(sorted(range(len(self.classes)), key=lambda label: -objects[label])[:SHOWN])


def check_report(path):
    """Raise TemplateError unless a report can be written there, before hours of work end in that error."""
    if Path(path).suffix != ".html" or Path(path).is_dir():
        raise TemplateError(f"--report {path}: expected the name of an .html file, for example report.html")


def write_report(path, result, scored, seconds, weights, files):
    """Write an evaluation's report.

    Args:
        path: The .html file.
        result: An EvaluationResult.
        scored: A Scored.
        seconds: How long single images (or tiles) took.
        weights: Path of what was evaluated; the curves of its training are shown when they lie beside it.
        files: As of `report.file_record`: the weights and the annotations.
    """
    shown, ranks, images = scored.shown(), ranked(scored), len(scored.evaluations["segm"].params.imgIds)
    worst = ranks[:min(PICTURES, (len(ranks) + 1) // 2)]
    page = render(
        "report.html", title=f"{weights.name} on {spelled(images, 'image')}", metrics=result.metrics,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"), classes=class_rows(result, scored), shown=shown,
        all_classes=len(shown) == len(scored.classes), threshold=scored.threshold, titles=TITLES,
        pr={kind: _image("svg+xml", pr_curves(evaluation, shown)) for kind, evaluation in scored.evaluations.items()},
        f1={kind: _image("svg+xml", f1_curves(matches, shown)) for kind, matches in scored.matches.items()},
        histogram=_image("svg+xml", score_histogram(scored)), matrix=matrix_rows(scored, shown), sizes=size_rows(result, scored),
        worst=[picture_pair(scored, *rank) for rank in worst],
        best=[picture_pair(scored, *rank) for rank in reversed(ranks[len(worst):][-PICTURES:])],
        latency=latency(result, seconds), size_mp=result.size_mp, complexity_gflops=result.complexity_gflops,
        training=training(weights), command=provenance.command(), versions=provenance.versions(), machine=provenance.machine(),
        files=files)
    write_text(path, page)


def class_rows(result, scored):
    """One dict per class for the table, in label order, and one for all together."""
    keys = ("segm/AP", "segm/AP50", "bbox/AP", "bbox/AP50")
    rows = [dict(name=name, colour=_colour(label), objects=objects, best=best,
                 ap=[result.metrics[f"{key}/{name}"] for key in keys])
            for label, (name, objects, best) in enumerate(zip(scored.classes, scored.objects, scored.of_class, strict=True))]
    return [*rows, dict(name="all", colour=ALL_COLOUR, objects=sum(scored.objects), best=scored.together,
                        ap=[result.metrics[key] for key in keys])]


def pr_curves(evaluation, shown):
    """Precision against recall at IoU 0.5, of each class and of their mean, as pycocotools interpolates it."""
    precision, recalls = evaluation.eval["precision"][0, :, :, 0, -1], evaluation.params.recThrs
    known = [label for label in range(precision.shape[1]) if precision[:, label].max() > -1]
    curves = [(recalls, precision[:, label], _colour(label)) for label in shown if label in known]
    return curves_svg([*curves, (recalls, precision[:, known].mean(1), ALL_COLOUR)] if known else [], "recall", "precision")


def f1_curves(matches, shown):
    """F1 at IoU 0.5 against the score from which detections count, of each class and of all objects together."""
    scores, (sure, hits, objects) = np.linspace(0, 1, 101), zip(*matches, strict=True)
    together = np.concatenate(sure), np.concatenate(hits), sum(objects)
    curves = [(scores, f1_at(scores, *matches[label]), _colour(label)) for label in shown if matches[label][2]]
    return curves_svg([*curves, (scores, f1_at(scores, *together), ALL_COLOUR)], "score from which detections count", "F1")


def score_histogram(scored):
    """How sure hits and false alarms are."""
    scores, hits, _ = zip(*scored.matches["segm"], strict=True)
    scores, hits = np.concatenate(scores), np.concatenate(hits)
    return histogram_svg([(scores[hits], "hits", "#2a9d5c"), (scores[~hits], "false alarms", "#d1495b")], "score", "detections")


def matrix_rows(scored, shown):
    """The confusion matrix of the shown classes and the background: rows (name, cells as (number, share of the row, right))."""
    chosen = [*shown, len(scored.classes)]
    matrix = confusion(scored.evaluations["segm"], scored.threshold)[np.ix_(chosen, chosen)]
    names = [*(scored.classes[label] for label in shown), "background"]
    return [(name, [(number, number / max(1, sum(row)), column == index) for column, number in enumerate(row)])
            for index, (name, row) in enumerate(zip(names, matrix.tolist(), strict=True))]


def size_rows(result, scored):
    """AP by COCO's ranges of object size: rows (name, pixels, objects, segm AP, bbox AP)."""
    params, truth, rows = scored.evaluations["segm"].params, scored.evaluations["segm"].cocoGt, []
    areas = [item["area"] for item in truth.anns.values() if not item["iscrowd"]]
    for name, (low, high) in zip(params.areaRngLbl[1:], params.areaRng[1:], strict=True):
        number = sum(low <= area <= high for area in areas)
        limits = f"{low ** 0.5:.0f}² to {high ** 0.5:.0f}²" if high < 1e10 else f"over {low ** 0.5:.0f}²"
        rows.append((name, limits, number, *(result.metrics[f"{kind}/AP{name[0]}"] for kind in ("segm", "bbox"))))
    return rows


def ranked(scored):
    """Images as (id, (hits, alarms, misses)), the worst F1 first, of equal ones those with more errors, or fewer hits, first."""
    def key(item):
        hits, alarms, misses = item[1]
        return 2 * hits / (2 * hits + alarms + misses), -alarms - misses, hits

    counts = image_matches(scored.evaluations["segm"], scored.threshold)
    return sorted(((image, tuple(count.tolist())) for image, count in counts.items() if count.any()), key=key)


def picture_pair(scored, image_id, counts):
    """An image with its objects, and with what was found: a dict of name, counts, both pictures as data URIs."""
    from instance_segmentation.engine.metrics import as_prediction
    truth, found = scored.evaluations["segm"].cocoGt, scored.evaluations["segm"].cocoDt
    record = truth.imgs[image_id]
    image, size_hw = cv2.imread(record["file_name"]), (record["height"], record["width"])
    crowd = len(scored.classes) + 1
    objects = [dict(item, score=1.0, category_id=crowd if item["iscrowd"] else item["category_id"])
               for item in truth.imgToAnns[image_id]]
    detections = [item for item in found.imgToAnns[image_id] if item["score"] >= scored.threshold]
    names = (*scored.classes, "crowd")
    return dict(name=Path(record["file_name"]).name, counts=counts,
                truth=_jpeg(draw(image, as_prediction(objects, names, size_hw), Look(scores=False))),
                found=_jpeg(draw(image, as_prediction(detections, names, size_hw))))


def latency(result, seconds):
    """Rows (what, text) about the time per image."""
    low, high = np.quantile(seconds, (0.1, 0.9)) * 1000
    return [("median per image", f"{result.ms_per_image:.1f} ms"), ("images per second, one at a time",
                                                                    f"{1000 / result.ms_per_image:.2f}"),
            ("10th to 90th percentile of a single run", f"{low:.1f} to {high:.1f} ms"), ("runs timed", str(len(seconds)))]


def training(weights):
    """The curves of the training that wrote the weights, and its settings; None where it is not beside them."""
    if not (weights.parent / "scalars.json").is_file() or not (weights.parent / "curves.png").is_file():
        return None
    run = read_run(weights.parent)
    return dict(curves=_image("png", (run.folder / "curves.png").read_bytes()), settings=run.lock["settings"] if run.lock else {},
                command=run.lock["command"] if run.lock else "")


def _colour(label):
    blue, green, red = colour_of(label)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _jpeg(image):
    scale = min(1, SIDE_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return _image("jpeg", cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG])[1].tobytes())


def _image(kind, content):
    """A picture as a data URI."""
    content = content.encode() if isinstance(content, str) else content
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
