"""report.html: its numbers, its escaping, and what a real browser makes of it."""

import html
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from markupsafe import escape
from pycocotools import mask as coco_mask

from instance_segmentation.coco import read_annotations
from instance_segmentation.engine.matching import confusion, f1_at, image_matches
from instance_segmentation.engine.metrics import coco_metrics
from instance_segmentation.errors import TemplateError
from instance_segmentation.evaluation import EvaluationResult
from instance_segmentation.records.html_report import Scored, check_report, ranked, write_report
from instance_segmentation.records.provenance import data_records
from instance_segmentation.report import file_record

from .test_metrics import as_detections

pytestmark = pytest.mark.component
HOSTILE = ("<script>alert(1)</script>", 'a & "b" \'c\'', "$x_1", "_stone {{ 7 * 7 }}")
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser", "chrome")
PROBE = """<script>addEventListener("load", () => { document.title = JSON.stringify({
images: document.images.length, broken: [...document.images].filter(image => !image.naturalWidth).length,
overflow: document.documentElement.scrollWidth - innerWidth, height: document.body.scrollHeight,
loaded: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:"))
}) })</script>"""


def square(x, y=10.0):
    return coco_mask.frPyObjects([[x, y, x + 20, y, x + 20, y + 20, x, y + 20]], 64, 128)[0]


def text(rle):
    return dict(rle, counts=rle["counts"].decode())


@pytest.fixture
def scored(tmp_path):
    """Image 1: a found, a taken for b, and a detection on a crowd. Image 2: b missed, c seen where nothing is. Image 3: empty."""
    objects = [(1, 1, 10.0, 0), (1, 1, 40.0, 0), (1, 1, 80.0, 1), (2, 2, 10.0, 0)]
    (tmp_path / "truth.json").write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f"{i}.jpg", width=128, height=64) for i in (1, 2, 3)],
        categories=[dict(id=i, name=name) for i, name in enumerate("abc", 1)],
        annotations=[dict(id=i, image_id=image, category_id=label, bbox=[x, 10.0, 20.0, 20.0], area=400.0, iscrowd=crowd,
                          segmentation=text(square(x))) for i, (image, label, x, crowd) in enumerate(objects, 1)])))
    found = [(1, 1, 11.0, 0.9), (1, 2, 40.0, 0.8), (1, 3, 80.0, 0.7), (2, 3, 60.0, 0.6), (2, 2, 10.0, 0.1)]
    evaluations = []
    coco_metrics(tmp_path / "truth.json", [
        dict(image_id=image, category_id=label, bbox=[x, 10.0, 20.0, 20.0], score=score, segmentation=text(square(x)))
        for image, label, x, score in found], on_scored=evaluations.append)
    return Scored.of("abc", *evaluations)


def test_confusion_counts_every_object_and_detection_once(scored):
    assert confusion(scored.evaluations["segm"], 0.5).tolist() == [
        [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]  # the one on the crowd is neither right nor wrong
    assert confusion(scored.evaluations["segm"], 0.05)[1].tolist() == [0, 1, 0, 0]


def test_images_are_ranked_by_what_is_right_in_them(scored):
    counts = {image: count.tolist() for image, count in image_matches(scored.evaluations["segm"], 0.5).items()}
    assert counts == {1: [1, 2, 1], 2: [0, 1, 1], 3: [0, 0, 0]}  # a crowd of a excuses no c
    assert [image for image, _ in ranked(scored)] == [2, 1]  # the empty one is neither good nor bad


def test_f1_at_each_threshold():
    scores, hits = np.array([0.2, 0.9, 0.5]), np.array([True, True, False])
    assert f1_at([0.0, 0.5, 0.6, 0.95], scores, hits, 4).tolist() == [4 / 7, 2 / 6, 2 / 5, 0]
    assert f1_at([0.5], np.zeros(0), np.zeros(0, bool), 0).tolist() == [0]


@pytest.fixture(scope="module")
def report(sample_data, tmp_path_factory):
    """A report about detections that miss, shift and invent, of classes with names that mean something in HTML."""
    folder = tmp_path_factory.mktemp("report <b>")
    annotations = read_annotations([sample_data / "val.json"], [sample_data / "val"])
    truth = json.loads(annotations.write(folder / "truth.json").read_text())
    for category, name in zip(truth["categories"], HOSTILE, strict=True):
        category["name"] = name
    (folder / "truth.json").write_text(json.dumps(truth))
    detections = [item for index, item in enumerate(as_detections(folder / "truth.json")) if index % 5]
    detections += [dict(item, category_id=item["category_id"] % 4 + 1, score=0.4) for item in detections[::3]]
    evaluations, weights = [], folder / "<b>weights.xml"
    weights.write_bytes(b"abc")
    metrics = coco_metrics(folder / "truth.json", detections, on_scored=evaluations.append)
    files = [file_record(weights), *data_records([sample_data / "val.json"], [sample_data / "val"])]
    write_report(folder / "report.html", EvaluationResult(metrics, HOSTILE, 12.5, 10.27, 18.1), Scored.of(HOSTILE, *evaluations),
                 [0.012, 0.0125, 0.02], weights, files)
    return folder / "report.html", metrics


def test_it_has_the_numbers_and_needs_nothing_else(report):
    path, metrics = report
    page = path.read_text()
    assert len(page) < 5e6
    for index, name in enumerate(HOSTILE):
        row = re.search(rf"{re.escape(escape(name))}</th>(?:<td>[^<]*</td>){{9}}", page)[0]
        assert re.findall(r"<td>([^<]*)</td>", row)[1:5] == [
            f"{metrics[f'{key}/{name}']:.3f}" for key in ("segm/AP", "segm/AP50", "bbox/AP", "bbox/AP50")], index
    assert "<script" not in page and "<b>weights" not in page and "49" not in re.findall(r"_stone [^<]*", page)[0]
    assert set(re.findall(r'(?:src|href)="(#|data:image/|[^"]{0,12})', page)) == {"#", "data:image/"}
    assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in page and "12.5 ms" in page
    assert page.count('<section class="pair">') == 4  # each of the four images once


@pytest.fixture(scope="module")
def browser():
    """A Chromium: the program that INSTSEG_BROWSER names, or one on the PATH."""
    program = os.environ.get("INSTSEG_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}, or name it in INSTSEG_BROWSER")
    return program


@pytest.mark.parametrize("width", [1200, 400], ids=["desktop", "phone"])
def test_a_browser_shows_every_picture_without_a_network(report, browser, tmp_path, width):
    page = report[0].read_text().replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    (tmp_path / "probe.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    run = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                          "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},900", "--dump-dom",
                          (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=120)
    seen = json.loads(html.unescape(re.search(r"<title>(\{.*?\})</title>", run.stdout, re.DOTALL)[1]))
    assert seen["images"] == 4 + 1 + 8 and seen["broken"] == 0 and seen["loaded"] == []
    assert seen["overflow"] <= 0 and seen["height"] > 2000


def test_another_suffix_is_refused_before_anything_is_loaded():
    with pytest.raises(TemplateError, match="--report report.pdf: expected the name of an .html file"):
        check_report("report.pdf")
