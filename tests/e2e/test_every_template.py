"""Every template through the verbs: a few steps, export with its gate, checkpoint, IR and ONNX evaluated alike, and INT8."""

import json
from pathlib import Path

import pytest

from instance_segmentation.cli import compress as compress_verb
from instance_segmentation.cli import demo as demo_verb
from instance_segmentation.cli import export as export_verb
from instance_segmentation.cli import new as new_verb
from instance_segmentation.cli import train as train_verb
from instance_segmentation.evaluation import evaluate
from instance_segmentation.ir.info import read_ir
from instance_segmentation.templates.catalogue import list_templates

from .conftest import OPTIONS, TINY, data_flags

pytestmark = pytest.mark.e2e
IN_CI = ("rtmdet-ins_tiny-640x640", "yolact_r50-544x544")  # EfficientNet's Mask R-CNN goes through all other tests of this folder
TEMPLATES = [pytest.param(template, id=template.name, marks=() if template.name in IN_CI else pytest.mark.nightly)
             for template in list_templates()]


@pytest.mark.parametrize("template", TEMPLATES)
def test_checkpoint_ir_and_onnx_score_the_same(template, few_photos, tmp_path):
    work, weights, xml = tmp_path / "work", tmp_path / "work/outputs/latest.pth", tmp_path / "work/export/model.xml"
    test = data_flags(few_photos, "test")
    assert new_verb.main([template.name, str(work), "--do-not-load-snapshot"]) == 0
    epochs, most, options = _recipe(template)
    assert train_verb.main([*data_flags(few_photos, "train", "val"), "--epochs", epochs, *TINY, *options], work) == 0
    assert export_verb.main(["--load-weights", str(weights), "--save-model-to", str(xml.parent), "--onnx", *test], work) == 0
    files = weights, xml, xml.with_suffix(".onnx")
    checkpoint, *exported = (evaluate(work, load_weights=file, test_ann_files=[few_photos / "val.json"], num_workers=0,
                                      test_data_roots=[few_photos / "val"], max_dets=most, save_results_to=f"{file}.json").metrics
                             for file in files)
    found, *others = (len(json.loads(Path(f"{file}.json").read_text())) for file in files)
    assert found > 100 and all(abs(found - other) < 10 for other in others)
    for key in ("bbox/AP", f"bbox/AR{most}", "segm/AP", f"segm/AR{most}"):
        assert [metrics[key] for metrics in exported] == pytest.approx([checkpoint[key]] * len(exported), abs=1e-3)
    photo = next((few_photos / "val").iterdir())
    assert demo_verb.main(["-m", str(xml), "-i", str(photo), "-o", str(tmp_path / "found.jpg"), "-t", "0.01", "--no_show"]) == 0
    assert (tmp_path / "found.jpg").stat().st_size > 0
    if template.optimisations:
        assert compress_verb.main(["--load-weights", str(xml), "--save-model-to", str(work / "int8"), "--max-drop", "1",
                                   "--calibration-images", "4", *data_flags(few_photos, "train", "val")], work) == 0
        assert read_ir(work / "int8/model.xml")[1].origin["precision"] == "INT8"


def _recipe(template):
    """Epochs, detections per image that count, and flags that let an untrained network's detections pass, of every class,
    which INT8 needs.

    Among a few detections of nearly equal scores ties would decide which count: of Mask R-CNN, NMS leaves few boxes of each
    class for the best hundred; all of RTMDet-Ins's count.
    """
    if "yolact" in template.name:
        return "1", 100, [*OPTIONS[:-1], "model.test_cfg.score_thr=0.0"]
    if "rtmdet" in template.name:
        return "1", 1000, [*OPTIONS[:-1], "model.test_cfg.score_thr=0.0", "model.test_cfg.max_per_img=1000"]
    many = [*OPTIONS, "model.test_cfg.rpn.nms_pre=1000", "model.test_cfg.rpn.max_per_img=300"]
    if "c4" in template.name:  # its boxes are near ties at first, which NMS multiplies; few regions, or it would take an hour
        return "6", 100, [*many, "model.train_cfg.rcnn.sampler.num=32", "model.train_cfg.rpn_proposal.max_per_img=200"]
    return "1", 100, [*many, "model.test_cfg.rcnn.nms.iou_threshold=0.2"]
