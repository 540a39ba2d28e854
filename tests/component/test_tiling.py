"""Training and evaluation on tiles of images."""

import json

import cv2
import pytest
from mmdet.registry import TRANSFORMS

from instance_segmentation.api import evaluate, train
from instance_segmentation.coco import read_annotations, tiled
from instance_segmentation.coco.masks import to_rle
from instance_segmentation.engine.metrics import coco_metrics, merge_results
from instance_segmentation.errors import TemplateError

from .test_resume import options, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component


def as_results(annotations):
    """Annotations, crowds and slivers left out, as COCO results that are sure."""
    sizes, results = {image["id"]: (image["height"], image["width"]) for image in annotations.images}, []
    for item in annotations.annotations:
        if not item["iscrowd"] and item["area"] >= 2:
            rle = to_rle(item["segmentation"], sizes[item["image_id"]])
            results.append(dict(image_id=item["image_id"], category_id=item["category_id"], bbox=item["bbox"], score=1.0,
                                segmentation=dict(rle, counts=rle["counts"].decode())))
    return results


@pytest.fixture(scope="module")
def whole(sample_data):
    return read_annotations(sample_data / "train.json", sample_data / "train")


def test_perfect_detections_in_tiles_are_perfect_in_the_image(whole, tmp_path):
    tiles = tiled(whole, 128, 0.6)
    merged = merge_results(as_results(tiles), tiles.images)
    assert len(as_results(tiles)) > len(merged) >= len(as_results(whole))
    metrics = coco_metrics(whole.write(tmp_path / "whole.json"), merged)
    assert metrics["segm/AR100"] > 0.97 and metrics["segm/AP"] > 0.9  # an object wider than the overlap stays a piece


def test_max_dets_bounds_what_counts(whole, tmp_path):
    path, found = whole.write(tmp_path / "whole.json"), as_results(whole)
    noise = [dict(item, score=2.0, category_id=item["category_id"] % 4 + 1) for item in found for _ in range(4)]
    few, many = (coco_metrics(path, noise + found, number) for number in (10, 1000))
    assert many["segm/AR1000"] > few["segm/AR10"] and many["segm/AR1000/berry"] == pytest.approx(1.0)
    assert coco_metrics(path, found, 1000)["segm/AP"] == pytest.approx(coco_metrics(path, found)["segm/AP"])


def test_a_tile_is_that_part_of_the_image(whole):
    tile = tiled(whole, 64, 0.25).images[5]
    x, y, width, height = tile["tile"]
    loaded = TRANSFORMS.build(dict(type="LoadTile"))(dict(img_path=tile["file_name"], tile=tile["tile"]))
    assert (loaded["img"] == cv2.imread(tile["file_name"])[y:y + height, x:x + width]).all() and x + y > 0
    assert loaded["ori_shape"] == (height, width) == (64, 64)


def test_tiles_are_trained_on_and_their_detections_are_the_images(work, sample_data, tmp_path):  # noqa: F811
    arguments = options(sample_data, epochs=1, batch_size=16, ema=False, accumulate=None, tile=96)
    arguments["cfg_options"] = arguments["cfg_options"] | {"val_evaluator.results_file": str(tmp_path / "detections.json")}
    result = train(work, **arguments, save_checkpoints_to=tmp_path)
    assert state(tmp_path)["meta"]["instseg"]["tile"] == [96, 0.25]
    validated = json.loads((tmp_path / "detections.json").read_text())
    assert {item["image_id"] for item in validated} == {1, 2, 3, 4}
    assert max(item["bbox"][0] for item in validated) > 96 and validated[0]["segmentation"]["size"] == [160, 192]
    scored = evaluate(work, load_weights=result.latest, test_ann_files=[sample_data / "val.json"],
                      test_data_roots=[sample_data / "val"], save_results_to=tmp_path / "found.json", tile=96, max_dets=500,
                      num_workers=0)
    assert "segm/AR500" in scored.metrics
    found = json.loads((tmp_path / "found.json").read_text())
    assert [item["image_id"] for item in found] == [item["image_id"] for item in validated]


def test_pictures_of_tiles_are_refused_before_anything_is_loaded(work):  # noqa: F811
    with pytest.raises(TemplateError, match="--save-output-to.*--tile"):
        evaluate(work, load_weights="none.pth", test_ann_files=[], test_data_roots=[], tile=96, save_output_to="pictures")
