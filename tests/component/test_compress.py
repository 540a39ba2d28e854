"""INT8: what stays in float32, which images calibrate, what is written, and what happens when the accuracy falls."""

import json
import re
import shutil
import sys

import numpy as np
import openvino as ov
import pytest

from instance_segmentation import api
from instance_segmentation.errors import ExportError, MissingExtraError
from instance_segmentation.ir.speed import Timing
from tests.component.speaking import speaking_network

pytestmark = pytest.mark.component
CLASSES = ("berry", "starfish", "stone", "washer")  # the sample data set's
TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    """The .xml of an exported speaking network."""
    from instance_segmentation.ir.export import write_ir
    return write_ir(speaking_network(CLASSES, (96, 128)), tmp_path_factory.mktemp("fp32"), template=TEMPLATE,
                    origin=dict(tool="test", precision="FP32")).path


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return api.instantiate(TEMPLATE, tmp_path_factory.mktemp("work") / "w", load_snapshot=False)


@pytest.fixture
def ask(work_dir, fp32, sample_data):
    """Run the verb on the sample data; keyword arguments replace its own."""
    def call(folder, **options):
        data = {f"{split}_ann_files": [sample_data / f"{split}.json"] for split in ("train", "val")}
        data |= {f"{split}_data_roots": [sample_data / split] for split in ("train", "val")}
        own = dict(load_weights=fp32, save_model_to=folder, calibration_images=4)
        return api.compress(work_dir, **{**own, **data, **options})
    return call


@pytest.fixture
def aps(monkeypatch):
    """Let the trial measure these segm APs in turn, the last one for ever; FP32 comes first."""
    def script(*values):
        left = list(values)
        monkeypatch.setattr("instance_segmentation.deployment.compressing._Trial.segm_ap",
                            lambda self, xml: left.pop(0) if len(left) > 1 else left[0])
        monkeypatch.setattr("instance_segmentation.ir.speed.measure", lambda contenders, runs: [
            Timing(each.name, 10.0, 9.0, 11.0, 100.0, each.size_mb) for each in contenders])
    return script


def quantised(model):
    """Names of the nodes whose output goes through a FakeQuantize."""
    return {node.input_value(0).get_node().get_friendly_name() for node in model.get_ops()
            if node.get_type_name() == "FakeQuantize"}


def test_the_whole_way(ask, tmp_path, capsys):
    """rt_info survives, the labels are there, the coordinates are exact, the branches are quantised, the table is printed."""
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.quantize import coordinate_names, parts
    result = ask(tmp_path, max_drop=1.0)
    model, info = read_ir(result.path)
    assert (info.classes, info.input_size, info.template, info.channel_order) == (CLASSES, (96, 128), TEMPLATE, "BGR")
    assert info.origin == dict(tool="test", precision="INT8", calibration_images=result.calibration_images, float32_parts=[])
    assert model.get_rt_info(["model_info", "model_type"]).value == "MaskRCNN"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden", "labels.txt", "labels_nobg.txt", "model.bin",
                                                                 "model.xml"]
    source, _ = read_ir(tmp_path / "model.xml")
    float_names = coordinate_names(source)
    assert not [name for name in quantised(source) if name in float_names and not name.startswith("Gather")]
    assert {"proposals", "candidate_boxes", "candidate_scores"} <= float_names
    assert not [name for name in quantised(source) if re.match("proposals|ROIAlign|Subtract|Select", name)]
    assert {"neck", "RPN", "box head", "mask head", "backbone stage 4"} <= set(parts(source, float_names))
    assert [row.timing.name for row in result.variants] == ["FP32", "FP16", "INT8"]
    assert result.variants[2].timing.size_mb < result.variants[1].timing.size_mb < 0.6 * result.variants[0].timing.size_mb
    out = capsys.readouterr().out
    assert re.search(r"segm AP +ΔAP +ms/image +faster +images/s +MB", out)
    assert len(re.findall(r"^(?:FP32|FP16|INT8) .*x", out, re.MULTILINE)) == 3
    assert "Statistics collection" not in out, "NNCF's own bars are off"
    check_mask_ranges(source)


def check_mask_ranges(model):
    """Empty RoI levels must not ruin them: no range of the heads is zero."""
    heads = [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"
             and node.input_value(0).get_node().get_friendly_name().startswith("__module.head")]
    ranges = [np.ptp([node.input_value(port).get_node().data.ravel() for port in (1, 2)]) for node in heads]
    assert len(ranges) >= 6 and min(ranges) > 0.01


@pytest.fixture
def no_calibration(monkeypatch):
    """A dozen attempts that leave the network as it is."""
    from instance_segmentation.ir import quantize
    monkeypatch.setattr(quantize, "quantize", lambda model, *args: model.clone())


def test_float32_part_is_not_quantised(fp32, sample_data, tmp_path):
    """A part handed over as float32 has no quantised layer, the others still have."""
    from instance_segmentation.ir import quantize
    from instance_segmentation.ir.info import read_ir
    model, info = read_ir(fp32)
    always = quantize.coordinate_names(model)
    parts = quantize.parts(model, always)
    files = sorted((sample_data / "train").iterdir())[:2]
    names = quantised(quantize.quantize(model, info, files, always | parts["mask head"]))
    assert not names & parts["mask head"]
    assert names & parts["box head"] and names & parts["backbone stage 5"]


def test_worst_part_goes_back_to_float32(ask, aps, no_calibration, tmp_path, capsys):
    """FP32 0.5; INT8 0.3; with the second part in float32 0.5, with any other 0.3; then that one alone is taken."""
    aps(0.5, 0.3, 0.3, 0.5, *[0.3] * 8, 0.495)
    result = ask(tmp_path, max_drop=0.01)
    (title, layers), = result.reverted.items()
    assert title.startswith("backbone") and layers
    own = json.loads(ov.Core().read_model(result.path).get_rt_info(["model_info", "instseg_export"]).value)
    assert own["origin"]["float32_parts"] == [title]
    out = capsys.readouterr().out
    assert f"In float32  {title}, {len(layers)} layers: " in out and "ΔAP -0.2000" in out


def test_drop_that_stays_writes_nothing(ask, aps, no_calibration, tmp_path):
    aps(0.5, 0.3)
    (tmp_path / "model.xml").write_text("old")
    with pytest.raises(ExportError, match=r"loses 0\.2000 segm AP even with \d+ of \d+ parts in float32 \(backbone"):
        ask(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.xml", "old")]


def test_picker_names_the_silent_class(fp32, sample_data):
    from dataclasses import replace

    from instance_segmentation.ir.calibration import pick
    from instance_segmentation.ir.info import read_ir
    model, info = read_ir(fp32)
    files = sorted((sample_data / "train").iterdir())
    with pytest.raises(ExportError, match="finds 1 of 5 classes on none of 8 images with a score of at least 0.05: unicorn"):
        pick(model, replace(info, classes=(*info.classes, "unicorn")), files, 4)
    assert 4 <= len(pick(model, info, files, 4)) <= 8


def test_picker_skips_images_without_detections(fp32, monkeypatch):
    from instance_segmentation.ir import calibration
    from instance_segmentation.ir.info import read_ir
    model, info = read_ir(fp32)
    labels = {"empty": [], "one": [0, 1], "same": [1], "rest": [2, 3]}
    monkeypatch.setattr(calibration, "read_input", lambda file, info: file)
    monkeypatch.setattr(calibration, "compile_ir", lambda model: lambda file: {"labels": np.array(labels[file], np.int64)})
    assert calibration.pick(model, info, ["empty", "one", "same", "rest"], 4) == ["one", "same", "rest"]
    assert calibration.pick(model, info, ["empty", "one", "same", "rest"], 1) == ["one", "rest"]


def test_int8_again_is_refused(ask, fp32, tmp_path):
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.quantize import save
    model, _ = read_ir(fp32)
    save(model, tmp_path / "model.xml", 3, [])
    with pytest.raises(ExportError, match="holds INT8 weights already"):
        ask(tmp_path / "out", load_weights=tmp_path / "model.xml")
    assert not list((tmp_path / "out").iterdir())


def test_foreign_model_is_refused(ask, fp32, tmp_path):
    text = fp32.read_text("utf-8").replace('name="proposals"', 'name="elsewhere"')
    (tmp_path / "model.xml").write_text(text, "utf-8")
    shutil.copy(fp32.with_suffix(".bin"), tmp_path)
    with pytest.raises(ExportError, match="was not exported by this version"):
        ask(tmp_path / "out", load_weights=tmp_path / "model.xml")


def test_missing_nncf(ask, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'instance-segmentation\[int8\]'"):
        ask(tmp_path)


def test_an_fp32_model_that_finds_nothing_is_said(ask, aps, tmp_path, capsys):
    """It holds no accuracy: an INT8 model that finds nothing would pass as well."""
    aps(0.004, 0.0)
    ask(tmp_path, max_drop=0.01)
    assert "any INT8 passes" in " ".join(capsys.readouterr().out.split())
