"""Weights of another tool through the verbs: imported, fine-tuned, exported, evaluated."""

import pytest
import torch

from instance_segmentation.cli import export as export_verb
from instance_segmentation.cli import import_weights as import_verb
from instance_segmentation.cli import new as new_verb
from instance_segmentation.cli import train as train_verb
from instance_segmentation.engine import register
from instance_segmentation.engine.config import read_config
from instance_segmentation.engine.network import build_network
from instance_segmentation.evaluation import evaluate
from instance_segmentation.templates.catalogue import find_template
from tests.component.foreign_files import as_there, write

from .conftest import TINY, data_flags

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
OPTIONS = ["--cfg-options", "train_dataloader.dataset.times=1", "model.test_cfg.rcnn.score_thr=0.01"]  # a few steps teach nothing


@pytest.mark.parametrize("tool, name", [
    ("torchvision", "mask_rcnn_r50_fpn-torchvision"), ("detectron", "mask_rcnn_r50_fpn-800x1344")])
def test_imported_weights_are_trained_and_exported(tool, name, sample_data, tmp_path, capsys):
    work, snapshot = tmp_path / "work", tmp_path / "snapshot.pth"
    register()
    torch.manual_seed(0)
    state = build_network(read_config(find_template(name).path / "model.py"), range(80)).state_dict()
    for layer, scale in (("backbone.bn1.weight", 0.02), ("bn3.weight", 0.2)):  # else signals, and rounding, grow block by block
        for weight in (state[key] for key in state if key.endswith(layer)):
            weight.mul_(scale)
    file = write(tool, as_there(tool, state), tmp_path / ("w.pkl" if tool == "detectron" else "w.pth"))
    names = ["--classes", ",".join(f"class {number}" for number in range(80))]
    assert import_verb.main([str(file), "--template", name, "-o", str(snapshot), *names]) == 0
    assert new_verb.main([name, str(work), "--do-not-load-snapshot"]) == 0
    flags = ["--load-weights", str(snapshot), *data_flags(sample_data, "train", "val"), "--epochs", "1", *TINY, *OPTIONS]
    assert train_verb.main(flags, work) == 0
    assert "classes that start fresh" in capsys.readouterr().out
    weights, xml = work / "outputs/latest.pth", work / "export/model.xml"
    flags = ["--load-weights", str(weights), "--save-model-to", str(xml.parent), *data_flags(sample_data, "test")]
    assert export_verb.main(flags, work) == 0
    checkpoint, exported = (evaluate(work, load_weights=path, test_ann_files=[sample_data / "val.json"], num_workers=0,
                                     test_data_roots=[sample_data / "val"]).metrics for path in (weights, xml))
    for key in ("segm/AP", "bbox/AP", "segm/AR100", "bbox/AR100"):
        assert exported[key] == pytest.approx(checkpoint[key], abs=1e-3)
