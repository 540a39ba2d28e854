"""Size, complexity, checkpoints."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from mmdet.datasets import CocoDataset

from instance_segmentation.engine.checkpoint import load_state, read_checkpoint
from instance_segmentation.engine.complexity import complexity_gflops, size_mp
from instance_segmentation.engine.config import read_config, set_classes
from instance_segmentation.engine.network import build_network, load_network
from instance_segmentation.errors import WeightsError
from instance_segmentation.templates.catalogue import find_template, list_templates

pytestmark = pytest.mark.component
PACKAGED = list_templates()


COCO = tuple(CocoDataset.METAINFO["classes"])


@pytest.fixture(scope="module")
def small(request, repo):
    """A two-class network, its config and checkpoint meta."""
    from .conftest import config_of
    cfg = config_of(repo, 480)
    set_classes(cfg, ["a", "b"])
    return build_network(cfg, ["a", "b"])


@pytest.mark.parametrize("template", PACKAGED, ids=[template.name for template in PACKAGED])
def test_size_and_complexity_are_the_templates(template):
    model = build_network(read_config(template.path / template.config), ["class"] * 80)
    if hasattr(model, "roi_head"):
        model.to("meta")  # counting needs no numbers
    stated = template.metric("size"), template.metric("complexity")
    assert (size_mp(model), round(complexity_gflops(model, model.input_size), 1)) == stated


def legacy_snapshot():
    """The published 480 snapshot's names and shapes, with random numbers."""
    lines = (Path(__file__).parents[1] / "data" / "snapshot_keys_480.tsv").read_text().splitlines()
    assert len(lines) == 542
    state = {}
    for line in lines:
        name, shape, dtype, _ = line.split("\t")
        state[name] = torch.rand([int(side) for side in shape.strip("[]").split(",") if side.strip()]).to(getattr(torch, dtype))
    return {"meta": {"epoch": 0, "iter": 0}, "state_dict": state}


def test_legacy_snapshot_loads_whole_as_a_coco_network(config_480, tmp_path):
    path = tmp_path / "snapshot.pth"
    snapshot = legacy_snapshot()
    torch.save(snapshot, path, _use_new_zipfile_serialization=False)
    config_480.dump(tmp_path / "model.py")
    model = load_network(path, config=tmp_path / "model.py")
    report = model.load_report
    assert (len(report.loaded), len(report.renamed)) == (542, 500)
    assert not (report.resized or report.missing or report.unused)
    assert model.dataset_meta["classes"][:2] == ("person", "bicycle") and len(model.dataset_meta["classes"]) == 80
    assert torch.equal(model.backbone.layers[4][7].se.conv2.conv.bias,
                       snapshot["state_dict"]["backbone.features.stage4.unit8.se.conv2.bias"])


@pytest.mark.parametrize("template, config, meta", [
    ("rtmdet-ins_tiny-640x640", "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", dict(dataset_meta=dict(CLASSES=COCO))),
    ("rtmdet-ins_s-640x640", "rtmdet/rtmdet-ins_s_8xb32-300e_coco.py", dict()),
    ("point_rend_r50-800x1344", "point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py", dict(CLASSES=COCO))])
def test_snapshots_that_mmdet_publishes_fill_the_template(template, config, meta, tmp_path):
    """Of mmdet's own network, random, with a class list as each version of mmdet writes it."""
    import mmdet
    from mmdet.registry import MODELS
    from mmengine.config import Config
    theirs = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / config).model
    theirs.backbone.init_cfg = None
    torch.save(dict(meta=meta, state_dict=MODELS.build(theirs).state_dict()), tmp_path / "snapshot.pth")
    model = load_network(tmp_path / "snapshot.pth", config=find_template(template).path / "model.py")
    report = model.load_report
    assert report.loaded and not (report.resized or report.missing or report.unused)
    assert model.dataset_meta["classes"] == COCO


def test_other_class_count_skips_exactly_the_six_head_tensors(small):
    report = load_state(small, legacy_snapshot()["state_dict"])
    assert sorted(report.resized) == sorted(
        f"roi_head.{layer}.{kind}" for layer in ("bbox_head.fc_cls", "bbox_head.fc_reg", "mask_head.conv_logits")
        for kind in ("weight", "bias"))
    assert len(report.loaded) == 536
    assert [row[:2] for row in report.rows()][:3] == [("loaded", 536), ("  of these renamed", 500), ("skipped: another shape", 6)]


def test_foreign_architecture_is_refused(small):
    with pytest.raises(WeightsError, match="none of the checkpoint's tensors fits"):
        load_state(small, {"conv1.weight": torch.zeros(1)})


class Hostile:
    """Unpickling this creates a folder: a stand-in for any command."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip format", "legacy format"])
def test_hostile_checkpoint_is_refused_and_does_not_run(tmp_path, zipped):
    path = tmp_path / "hostile.pth"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "meta": Hostile(tmp_path / "ran")}, path,
               _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="could run code.*\n.*--trust-checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()
    read_checkpoint(path, trust=True)  # the trap itself works
    assert (tmp_path / "ran").exists()


def test_hostile_plain_pickle_is_refused(tmp_path):
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps({"state_dict": Hostile(tmp_path / "ran")}))
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content, message", [
    (None, "no such file"), (b"", "not a readable checkpoint|refused"), (b"PK\x03\x04 cut", "not a readable checkpoint")],
    ids=["missing", "empty", "truncated"])
def test_damaged_file_is_a_clear_error(tmp_path, content, message):
    path = tmp_path / "x.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


def test_mmengine_checkpoint_with_objects_needs_trust(tmp_path):
    """Plain mmengine keeps HistoryBuffer objects, whose pickles call functions."""
    from mmengine.logging import HistoryBuffer
    buffer = HistoryBuffer()
    buffer.update(1.0)
    path = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": {"module.w": torch.ones(2)}, "meta": {"dataset_meta": {"classes": ("x",)}},
                "message_hub": {"log_scalars": {"loss": buffer}}}, path)
    with pytest.raises(WeightsError, match="--trust-checkpoint"):
        read_checkpoint(path)
    checkpoint = read_checkpoint(path, trust=True)
    assert list(checkpoint["state_dict"]) == ["w"] and checkpoint["meta"]["dataset_meta"]["classes"] == ("x",)


def test_numpy_numbers_in_meta_are_harmless(tmp_path):
    import numpy as np
    torch.save({"state_dict": {"w": torch.ones(2)}, "meta": {"score": np.float64(0.5), "mean": np.ones(3)}}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["meta"]["score"] == 0.5
