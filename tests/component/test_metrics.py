"""The evaluator against pycocotools and against itself."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instance_segmentation.coco import read_annotations
from instance_segmentation.engine.metrics import coco_metrics, segm_matches

pytestmark = pytest.mark.component


def as_detections(annotation_file, score=lambda item: 0.9):
    """Ground truth as COCO results, crowds left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation_file))
    return [dict(image_id=item["image_id"], category_id=item["category_id"], bbox=item["bbox"], score=score(item),
                 segmentation=_text(truth.annToRLE(item)))
            for item in truth.dataset["annotations"] if not item["iscrowd"]]


def _text(rle):
    counts = rle["counts"]
    return dict(size=list(rle["size"]), counts=counts.decode() if isinstance(counts, bytes) else counts)


@pytest.fixture(scope="module")
def coco_subset(data_root, tmp_path_factory):
    """The 206 COCO photos, normalised, and the path of their original annotations."""
    folder = data_root / "coco_val2017_subset"
    original = folder / "annotations" / "instances_val2017.json"
    annotations = read_annotations([original], [folder / "images"], check_images=False)
    return annotations, annotations.write(tmp_path_factory.mktemp("coco") / "normalised.json"), original


def test_ground_truth_as_detections_scores_one_for_all_80_classes(coco_subset):
    annotations, normalised, _ = coco_subset
    metrics = coco_metrics(normalised, as_detections(normalised))
    assert len(annotations.classes) == 80
    for name in annotations.classes:
        for kind in ("bbox", "segm"):
            assert metrics[f"{kind}/AP/{name}"] == pytest.approx(1.0, abs=1e-12), (kind, name)


def test_equals_pycocotools_on_the_original_file(coco_subset):
    """Imperfect detections, scored by us on normalised and by pycocotools on the user's own annotations."""
    annotations, normalised, original = coco_subset
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(original))
    image_ids = {image["id"]: image["source_id"] for image in annotations.images}
    ours = [shaken(item) for item in as_detections(normalised, score=lambda item: (item["id"] * 7919 % 1000) / 1000)]
    theirs = [dict(item, image_id=image_ids[item["image_id"]],
                   category_id=annotations.source_category_ids[annotations.classes[item["category_id"] - 1]])
              for item in ours]
    metrics = coco_metrics(normalised, ours)
    for kind in ("bbox", "segm"):
        with contextlib.redirect_stdout(io.StringIO()):
            results = json.loads(json.dumps(theirs))
            for item in results:
                if kind == "bbox":
                    del item["segmentation"]
                else:
                    del item["bbox"]
            evaluation = COCOeval(truth, truth.loadRes(results), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        expected = dict(zip(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100"), evaluation.stats, strict=False))
        assert 0.1 < expected["AP"] < 0.95
        for key, value in expected.items():
            assert metrics[f"{kind}/{key}"] == pytest.approx(value, abs=1e-9), (kind, key)


def shaken(item):
    """A detection a few pixels beside its object, every fifth of another class."""
    shift = item["category_id"] % 4
    x, y, w, h = item["bbox"]
    mask = coco_mask.decode(item["segmentation"])
    mask[:, shift:] = mask[:, :mask.shape[1] - shift].copy()
    label = item["category_id"] % 80 + 1 if int(x) % 5 == 0 else item["category_id"]
    return dict(item, bbox=[x + shift, y, w, h], category_id=label, segmentation=_text(coco_mask.encode(mask)))


@pytest.fixture
def two_classes(tmp_path):
    """One object of class a; class b has none."""
    square = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]
    path = tmp_path / "two.json"
    path.write_text(json.dumps(dict(
        images=[dict(id=1, file_name="x.jpg", width=64, height=64)],
        categories=[dict(id=1, name="a"), dict(id=2, name="b")],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[10.0, 10.0, 20.0, 20.0], area=400.0, iscrowd=0,
                          segmentation=square)])))
    return path


def test_nothing_detected_is_zero_and_no_ground_truth_is_nan(two_classes):
    metrics = coco_metrics(two_classes, [])
    assert metrics["segm/AP"] == metrics["bbox/AP/a"] == 0.0
    assert math.isnan(metrics["segm/AP/b"])
    assert all(type(value) is float for value in metrics.values())


def test_more_than_255_detections(two_classes):
    """pycocotools 2.0.11 with numpy 2 fails on the areas of longer lists."""
    (detection,) = as_detections(two_classes)
    many = [dict(detection, score=1 - i / 1000) for i in range(600)]
    assert coco_metrics(two_classes, many)["segm/AP"] == pytest.approx(1.0)


def test_matches_of_each_class(tmp_path):
    """A hit, a second detection of the same object, one on a crowd (ignored), a wrong class, an image without anything."""
    def square(x):
        return [[x, 10.0, x + 20, 10.0, x + 20, 30.0, x, 30.0]]
    crowd = _text(coco_mask.frPyObjects(square(60.0), 64, 128)[0])
    (tmp_path / "truth.json").write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f"{i}.jpg", width=128, height=64) for i in (1, 2, 3)],
        categories=[dict(id=1, name="a"), dict(id=2, name="b"), dict(id=3, name="c")],
        annotations=[dict(id=i, image_id=image, category_id=1, bbox=[x, 10.0, 20.0, 20.0], area=400.0, iscrowd=iscrowd,
                          segmentation=crowd if iscrowd else square(x))
                     for i, image, x, iscrowd in ((1, 1, 10.0, 0), (2, 1, 60.0, 1), (3, 2, 10.0, 0))])))
    found = [dict(image_id=1, category_id=label, bbox=[x, 10.0, 20.0, 20.0], score=score,
                  segmentation=_text(coco_mask.frPyObjects(square(x), 64, 128)[0]))
             for label, x, score in ((1, 10.0, 0.9), (1, 12.0, 0.8), (1, 60.0, 0.7), (2, 10.0, 0.6))]
    one, other, absent = segm_matches(tmp_path / "truth.json", found)
    assert one[0].tolist() == [0.9, 0.8] and one[1].tolist() == [True, False] and one[2] == 2
    assert other[0].tolist() == [0.6] and other[1].tolist() == [False] and other[2] == 0
    assert absent[0].size == absent[1].size == absent[2] == 0 and absent[1].dtype == np.bool_
