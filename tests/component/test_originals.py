"""Networks of torchvision and Detectron2, run by their own code, find the same after `import-weights`.

torchvision comes from pip, its compiled operations are not needed; INSTSEG_TORCHVISION_VENV names a folder that has it.
Detectron2 is not on PyPI: INSTSEG_DETECTRON2_VENV names a folder with it, its project point_rend, what these import, and
torchvision; without it that test is skipped.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from instance_segmentation.api import import_weights
from instance_segmentation.engine.config import read_config
from instance_segmentation.engine.foreign_names import DETECTRON, DETECTRON2, name_here
from instance_segmentation.engine.network import build_network, load_network
from instance_segmentation.templates.catalogue import find_template
from tests.component.foreign_files import name_there

pytestmark = [pytest.mark.component, pytest.mark.nightly]
CLIENT, TORCHVISION = Path(__file__).parent / "other_tools" / "originals_client.py", "torchvision==0.28.*"  # for torch 2.13
SIZE_HW = (320, 416)  # the coarsest map has 5×7 cells: torchvision's stride there is 64 by 59


@pytest.fixture(scope="module")
def photos(data_root, tmp_path_factory):
    """Photos at the network's input size: every tool resizes in its own way."""
    folder = tmp_path_factory.mktemp("photos")
    files = [min((data_root / name / "images").rglob("*.*g")) for name in ("coco_val2017_subset", "strawberry")]
    for number, file in enumerate(files):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(cv2.imread(str(file)), SIZE_HW[::-1]))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory):
    """Folder with torchvision."""
    if named := os.environ.get("INSTSEG_TORCHVISION_VENV"):
        return Path(named)
    folder = tmp_path_factory.mktemp("torchvision")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, TORCHVISION], check=True)
    return folder


@pytest.fixture(scope="module")
def detectron2():
    """Folder with Detectron2."""
    if not (named := os.environ.get("INSTSEG_DETECTRON2_VENV")):
        pytest.skip("Detectron2 is not on PyPI: INSTSEG_DETECTRON2_VENV names a folder with it and what it imports")
    return Path(named)


def run_original(folder, *arguments):
    done = subprocess.run([sys.executable, CLIENT, *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(folder), "TORCHDYNAMO_DISABLE": "1"})
    assert done.returncode == 0, done.stderr


def found_here(model, image_bgr):
    """Boxes [N, 4], scores [N], labels [N] and mask probabilities [N, m, m] of an image of the network's size."""
    from mmdet.structures import DetDataSample
    sample = DetDataSample(metainfo=dict(img_shape=SIZE_HW, ori_shape=SIZE_HW, scale_factor=(1.0, 1.0)))
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=[torch.from_numpy(image_bgr).permute(2, 0, 1)], data_samples=[sample]))
        features, heads = model.extract_feat(data["inputs"]), model.roi_head
        proposals = model.rpn_head.predict(features, data["data_samples"], rescale=False)
        (found,) = heads.predict_bbox(features, [sample.metainfo], proposals, model.test_cfg.rcnn)
        rois = torch.cat([torch.zeros(len(found), 1), found.bboxes], 1)
        logits = heads.mask_head(heads.mask_roi_extractor(features[:heads.mask_roi_extractor.num_inputs], rois))
        if hasattr(heads, "point_head"):
            masks = heads._mask_point_forward_test(features, rois, found.labels, logits)[:, 0].sigmoid()
        else:
            masks = logits[range(len(found)), found.labels].sigmoid()
    return [values.numpy() for values in (found.bboxes, found.scores, found.labels, masks)]


@pytest.mark.parametrize("tool, weights, template", [
    ("torchvision", "weights.pth", "mask_rcnn_r50_fpn-torchvision"),
    ("detectron2", "weights.pkl", "mask_rcnn_r50_fpn-detectron2"),
    ("detectron2", "weights.pth", "mask_rcnn_r50_fpn-detectron2"),
    ("point_rend", "weights.pkl", "point_rend_r50-800x1344")])
def test_an_imported_network_finds_what_the_original_finds(tool, weights, template, photos, tmp_path, request):
    folder, weights = request.getfixturevalue("torchvision" if tool == "torchvision" else "detectron2"), tmp_path / weights
    run_original(folder, tool, weights, tmp_path / "found.npz", *photos)
    result = import_weights(weights, template, tmp_path / "ours.pth")
    assert not set(result.unused) - {"__author__", "iteration"}
    model, found, total = load_network(tmp_path / "ours.pth"), np.load(tmp_path / "found.npz"), 0
    names = request.getfixturevalue("coco_names") if tool == "torchvision" else dict(enumerate(model.dataset_meta["classes"]))
    for number, photo in enumerate(photos):
        ours = found_here(model, cv2.imread(str(photo)))
        theirs = [found[f"{key}{number}"] for key in ("boxes", "scores", "labels", "masks")]
        assert [model.dataset_meta["classes"][label] for label in ours[2]] == [names[label] for label in theirs[2]]
        for mine, other in ((ours[0], theirs[0]), (ours[1], theirs[1])):
            np.testing.assert_allclose(mine, other, atol=1e-3, rtol=0)
        # of points that are equally unsure but for rounding, PointRend refines one or the other: 3 of a million pixels differed
        assert (np.abs(ours[3] - theirs[3][:, 0]) > 1e-3).mean() <= (1e-5 if tool == "point_rend" else 0)
        total += len(ours[0])
    assert total > 20


def test_detectron2_reads_detectrons_names_as_we_do(detectron2):
    """By its own rules, which leave the modules' prefixes to be found by matching."""
    path = detectron2 / "detectron2" / "checkpoint" / "c2_model_loading.py"
    spec = importlib.util.spec_from_file_location("c2_model_loading", path)
    spec.loader.exec_module(rules := importlib.util.module_from_spec(spec))
    state = build_network(read_config(find_template("mask_rcnn_r50_fpn-800x1344").path / "model.py"), ["a"]).state_dict()
    blobs = {name_there("detectron", name): torch.zeros(5, 1) for name in state
             if "running" not in name and "tracked" not in name}
    _, there = rules.convert_c2_detectron_names(blobs)
    assert len(there) == len(blobs) == 201
    for name, blob in there.items():
        modules = ("", "backbone.bottom_up.", "backbone.", "roi_heads.", "roi_heads.box_predictor.")
        assert {name_here(module + name, DETECTRON2) for module in modules} - {None} == {name_here(blob, DETECTRON)}


@pytest.fixture
def coco_names(data_root):
    """COCO's names by category id, from its annotations."""
    import json
    (file, *_) = sorted((data_root / "coco_val2017_subset" / "annotations").glob("*.json"))
    return {category["id"]: category["name"] for category in json.loads(file.read_text())["categories"]}
