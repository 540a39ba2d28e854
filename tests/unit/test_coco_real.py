"""Reading real files: the numbers of the untouched file are the numbers of the normalised one."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instance_segmentation.coco import read_annotations
from instance_segmentation.data.sample import write_sample_dataset

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Return (annotation file, image root): COCO's own photos, with crowds and RLE, where they are at hand."""
    real = Path(os.environ.get("INSTSEG_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = real / "coco_val2017_subset"
    if folder.is_dir():
        return folder / "annotations" / "instances_val2017.json", folder / "images"
    sample = write_sample_dataset(tmp_path_factory.mktemp("sample"), train=20, val=0)
    return sample / "train.json", sample / "train"


def average_precisions(coco, detections, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(detections), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_ap_of_the_normal_form_equals_ap_of_the_raw_file(raw, tmp_path, kind):
    ann_file, root = raw
    normal = read_annotations([ann_file], [root])
    with contextlib.redirect_stdout(io.StringIO()):
        raw_coco, normal_coco = COCO(str(ann_file)), COCO(str(normal.write(tmp_path / "normal.json")))
    image_ids = {image["source_id"]: image["id"] for image in normal.images}
    category_ids = {normal.source_category_ids[name]: number for number, name in enumerate(normal.classes, 1)}
    rng = np.random.default_rng(0)
    detections = []
    for entry in json.loads(Path(ann_file).read_text())["annotations"]:
        if rng.random() < 0.8:  # some are missed, some get a wrong box, scores are coarse so that they tie
            box = (np.array(entry["bbox"]) * rng.uniform(0.8, 1.2, 4)).tolist()
            detections.append({"image_id": entry["image_id"], "category_id": entry["category_id"], "bbox": box,
                               "score": float(rng.integers(1, 9) / 10)})
            if kind == "segm":
                moved = np.roll(raw_coco.annToMask(entry), rng.integers(-4, 5, 2), (0, 1))
                del detections[-1]["bbox"]
                detections[-1]["segmentation"] = coco_mask.encode(np.asfortranarray(moved))
    renumbered = [{**found, "image_id": image_ids[found["image_id"]], "category_id": category_ids[found["category_id"]]}
                  for found in detections]
    expected = average_precisions(raw_coco, detections, kind)
    assert 0.05 < expected[0] < 0.95
    np.testing.assert_allclose(average_precisions(normal_coco, renumbered, kind), expected, rtol=0, atol=1e-9)


def test_reading_loads_neither_torch_nor_mmdet(raw):
    """An edge device reads annotations without them."""
    code = ("import sys; from instance_segmentation.coco import read_annotations as read; "
            f"read([{str(raw[0])!r}], [{str(raw[1])!r}]); "
            "sys.exit(any(name in sys.modules for name in ('torch', 'mmdet', 'mmengine', 'matplotlib', 'cv2')))")
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_benchmark_runs_small():
    command = [sys.executable, "benchmarks/annotations.py", "--images", "300", "--annotations", "2000"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "300 images" in done.stdout and "peak memory" in done.stdout
