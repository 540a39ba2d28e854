"""Score thresholds and plans: on photos whose objects are what the network itself finds above a known score."""

import json
import re
import shutil

import cv2
import numpy as np
import openvino as ov
import pytest

from instance_segmentation import api
from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.ir.core import core
from instance_segmentation.ir.speed import Contender, Timing
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES, SIZE = ("berry", "leaf"), (96, 128)
TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, SIZE)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(network, tmp_path_factory.mktemp("ir"), origin=dict(precision="FP32"), template=TEMPLATE).path


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return api.instantiate(TEMPLATE, tmp_path_factory.mktemp("work") / "w", load_snapshot=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), photo_like(SIZE, seed))
    return folder


@pytest.fixture(scope="module")
def data(photos, exported, work_dir):
    """COCO file: of each photo, what the IR finds with a score above the median; the median, halfway to the next score."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.evaluation import detect
    from instance_segmentation.ir.detector import ExportedDetector
    images = [dict(id=seed + 1, file_name=f"{seed}.png", height=SIZE[0], width=SIZE[1]) for seed in range(3)]
    content = dict(images=images, categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)], annotations=[])
    file = photos / "val.json"
    file.write_text(json.dumps(content))
    annotations = read_annotations([file], [photos], classes=CLASSES, all_classes=False)
    _, found = detect(ExportedDetector(exported), read_config(work_dir / "model.py"), annotations)
    found = sorted((item for item in found if item["bbox"][2] > 8 and item["bbox"][3] > 8), key=lambda item: -item["score"])
    content["annotations"] = [dict(item, id=i, iscrowd=0, area=item["bbox"][2] * item["bbox"][3])
                              for i, item in enumerate(found[:len(found) // 2], 1)]
    assert len(content["annotations"]) > 10
    file.write_text(json.dumps(content))
    return file, photos


def judged(work_dir, data):
    """The work dir's Config and the annotations, as the exporter hands them on."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine.config import read_config
    return read_config(work_dir / "model.py"), read_annotations([data[0]], [data[1]], classes=CLASSES, all_classes=False)


def test_thresholds_are_stored_printed_and_never_filter_an_evaluation(network, exported, work_dir, data, tmp_path, capsys):
    from functools import partial

    from instance_segmentation.deployment.exporting import find_thresholds
    from instance_segmentation.evaluation import detect
    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.export import write_ir
    cfg, annotations = judged(work_dir, data)
    result = write_ir(network, tmp_path, origin={}, judge=partial(find_thresholds, cfg, annotations))
    info = result.info
    lowest = [min(score for score, label in scores_in(data) if label == 1 + index) for index in range(2)]
    assert info.confidence_threshold > info.score_threshold == 0.05
    assert all(info.score_threshold < own <= low for own, low in zip(info.class_thresholds, lowest, strict=True))
    out = capsys.readouterr().out
    assert re.search(rf"^berry +\d+ +{info.class_thresholds[0]:.3f} ", out, re.MULTILINE)
    assert re.search(rf"^all +\d+ +{info.confidence_threshold:.3f} ", out, re.MULTILINE)
    model = core().read_model(result.path)
    assert model.get_rt_info(["model_info", "confidence_threshold"]).value == f"{info.confidence_threshold:g}"
    before, after = (detect(ExportedDetector(xml), cfg, annotations) for xml in (exported, result.path))
    assert before[0] == pytest.approx(after[0], abs=1e-6, nan_ok=True)
    assert min(item["score"] for item in after[1]) < min(info.class_thresholds), "nothing was filtered"


def scores_in(data):
    return [(item["score"], item["category_id"]) for item in json.loads(data[0].read_text())["annotations"]]


def test_class_without_objects_takes_the_threshold_of_all(exported, work_dir, data, tmp_path):
    from instance_segmentation.deployment.exporting import find_thresholds
    content = json.loads(data[0].read_text())
    content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 1]
    (tmp_path / "val.json").write_text(json.dumps(content))
    facts = find_thresholds(*judged(work_dir, (tmp_path / "val.json", data[1])), exported)
    assert facts["class_thresholds"][1] == facts["confidence_threshold"] != facts["class_thresholds"][0]


def test_other_limits_equal_an_export_with_other_settings(network, exported):
    """To the bit, with the counts and scores of mmdet's test_cfg."""
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.limits import Limits, read_limits, set_limits
    from instance_segmentation.ir.session import compile_ir
    edited = core().read_model(exported)
    assert read_limits(edited) == Limits(1000, 0.05)
    set_limits(edited, Limits(40, 0.3))
    assert read_limits(edited) == Limits(40, 0.3)
    config = network.test_cfg
    config.rpn.max_per_img, config.rcnn.score_thr = 40, 0.3
    expected = compile_ir(build_ir(network))
    config.rpn.max_per_img, config.rcnn.score_thr = 1000, 0.05
    unchanged, changed = compile_ir(core().read_model(exported)), 0
    for seed in range(3):
        image = photo_like(SIZE, seed).transpose(2, 0, 1)[None].astype(np.float32)
        full, one, other = (compiled(image) for compiled in (unchanged, expected, compile_ir(edited)))
        assert 0 < len(one["boxes"]) < len(full["boxes"])
        for name in ("boxes", "labels", "masks"):
            np.testing.assert_array_equal(one[name], other[name])
        changed += len(one["boxes"]) != int((full["boxes"][:, 4] > 0.3).sum())
    assert changed, "fewer proposals find other boxes"


def test_foreign_graph_has_no_limits():
    from instance_segmentation.ir.limits import read_limits
    parameter = ov.opset13.parameter([1], np.float32)
    with pytest.raises(ExportError, match="not exported by this version"):
        read_limits(ov.Model([ov.opset13.relu(parameter)], [parameter]))


@pytest.fixture
def known_times(monkeypatch):
    """Half a millisecond per proposal, less from score 0.3; half with the BF16 hint. Threads and streams pay in proportion."""
    from instance_segmentation.ir.limits import read_limits

    def contender(name, model, images, precision, size_mb=0.0, options=None):
        limits, options = read_limits(model), options or dict(NUM_STREAMS=1, INFERENCE_NUM_THREADS=1)
        ms = (0.5 * limits.proposals - (limits.score_threshold >= 0.3)) / (2 if precision == "bf16" else 1)
        return Contender(name, None, None, size_mb=ms / options["INFERENCE_NUM_THREADS"], request=options["NUM_STREAMS"])

    monkeypatch.setattr("instance_segmentation.ir.speed.openvino_contender", contender)
    monkeypatch.setattr("instance_segmentation.ir.speed.measure", lambda contenders, runs: [
        Timing(each.name, each.size_mb, each.size_mb, each.size_mb, 1000 / each.size_mb * each.request, 0.0)
        for each in contenders])


@pytest.fixture
def ask(exported, work_dir, data, tmp_path):
    def call(**options):
        own = dict(load_weights=exported, val_ann_files=[data[0]], val_data_roots=[data[1]], proposals=[2000, 30],
                   score_thresholds=[0.01, 0.3], save_plan_to=tmp_path / "plan")
        return api.plan(work_dir, **{**own, **options})
    return call


def test_recommended_point_is_written_and_gives_what_the_table_says(ask, known_times, work_dir, data, tmp_path, capsys):
    """Table, plan.json, plan.png; the applied IR carries limits and settings, uses them, and has the AP of the table."""
    from instance_segmentation.evaluation import detect
    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.info import read_graph
    from instance_segmentation.ir.limits import read_limits
    result = ask(max_drop=1.0, apply=tmp_path / "applied")
    first, chosen = result.points[0], result.recommended
    assert (first.precision, first.proposals, first.score_threshold, first.ms) == ("FP32", 1000, 0.05, 500.0)
    assert {point.proposals for point in result.points} == {1000, 30}, "2000 cannot be had"
    assert (chosen.proposals, chosen.score_threshold) == (30, 0.3) and 0 < chosen.segm_ap < first.segm_ap
    saved = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert [point["recommended"] for point in saved["points"]].count(True) == 1 and saved["runtime"] == result.runtime
    assert (tmp_path / "plan" / "plan.png").is_file()
    assert re.search(r"^FP32.* 30 +0\.3 .*recommended", capsys.readouterr().out, re.MULTILINE)
    model = ExportedDetector(tmp_path / "applied" / "model.xml")
    assert read_limits(read_graph(tmp_path / "applied" / "model.xml")) == (30, 0.3)
    assert (model.info.classes, model.info.score_threshold, model.info.runtime) == (CLASSES, 0.3, result.runtime)
    assert np.isnan(model.complexity_gflops) and model.size_mp > 10
    metrics, _ = detect(model, *judged(work_dir, data))
    assert metrics["segm/AP"] == pytest.approx(chosen.segm_ap, abs=1e-6)


def test_settings_of_a_model_are_defaults(exported, tmp_path):
    """Each performance hint has its own; the caller's options replace them."""
    from instance_segmentation.ir.info import update_info
    from instance_segmentation.ir.session import compile_ir
    model = core().read_model(exported)
    update_info(model, runtime=dict(LATENCY=dict(INFERENCE_NUM_THREADS=1, NUM_STREAMS=1), THROUGHPUT=dict(NUM_STREAMS=2)))
    assert compile_ir(model).get_property("INFERENCE_NUM_THREADS") == 1
    assert compile_ir(model).get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert compile_ir(model, options=dict(PERFORMANCE_HINT="THROUGHPUT")).get_property("NUM_STREAMS") == 2
    assert compile_ir(model, options=dict(PERFORMANCE_HINT="THROUGHPUT", NUM_STREAMS=1)).get_property("NUM_STREAMS") == 1


def test_int8_of_another_network_is_refused(ask, exported, tmp_path):
    text = exported.read_text("utf-8").replace("berry", "other")
    (tmp_path / "model.xml").write_text(text, "utf-8")
    shutil.copy(exported.with_suffix(".bin"), tmp_path)
    with pytest.raises(WeightsError, match=r"--int8 .*has other classes"):
        ask(int8=tmp_path / "model.xml")


def test_planned_model_is_not_overwritten(ask, exported):
    with pytest.raises(ExportError, match="--apply .*: holds the model that is planned"):
        ask(apply=exported.parent)


def test_layouts_end_at_the_processors_threads():
    from instance_segmentation.deployment.planning import layouts
    assert layouts(1) == [(1, 1)]
    assert layouts(2) == [(1, 1), (1, 2), (2, 2)]
    assert layouts(16) == [(1, 8), (1, 16), (4, 8), (8, 8), (8, 16), (16, 16)]
