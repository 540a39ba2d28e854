"""The exported files: what they say, how they are written, when they are refused."""

import json
import shutil

import numpy as np
import openvino as ov
import pytest
import torch

from instance_segmentation.errors import ExportError, WeightsError
from tests.component.speaking import speaking_network

pytestmark = pytest.mark.component
CLASSES = ("ripe fruit", "Blüte", "leaf")


def write(model, folder, **options):
    from instance_segmentation.ir.export import write_ir
    return write_ir(model, folder, origin=dict(tool="test"), **options)


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return write(network, tmp_path_factory.mktemp("export"), template="small-template")


def test_gate_ran_on_noise_and_says_so(exported):
    assert (exported.parity.real_images, exported.parity.images) == (0, 4)
    assert exported.parity.detections > 5


def test_rt_info(exported):
    model = ov.Core().read_model(exported.path)
    info = dict(model.get_rt_info(["model_info"]).value)
    own = json.loads(info.pop("instseg_export"))
    assert json.loads(info.pop("label_info")) == dict(
        label_names=list(CLASSES), label_ids=["0", "1", "2"], label_groups=[list(CLASSES)])
    assert info == dict(
        model_type="MaskRCNN", task_type="instance_segmentation", model_name="small-template",
        labels="otx_empty_lbl ripe_fruit Blüte leaf", label_ids="None 0 1 2", confidence_threshold="0.05",
        iou_threshold="0.5", resize_type="standard", pad_value="0", reverse_input_channels="False")
    assert own["classes"] == list(CLASSES) and own["origin"] == dict(tool="test")


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_info_round_trip(exported, suffix):
    from instance_segmentation.ir.info import read_ir
    _, info = read_ir(exported.path.with_suffix(suffix))
    assert (info.classes, info.input_size, info.template) == (CLASSES, (128, 160), "small-template")
    assert info == exported.info


def test_label_files(exported):
    assert (exported.path.parent / "labels.txt").read_text("utf-8") == "background\nripe fruit\nBlüte\nleaf\n"
    assert (exported.path.parent / "labels_nobg.txt").read_text("utf-8") == "ripe fruit\nBlüte\nleaf\n"


def test_golden_samples_are_found_again(exported):
    from instance_segmentation.ir.golden import FILES, rerun
    assert all((exported.path.parent / name).is_file() for name in FILES)
    again = rerun(exported.path)
    assert again.detections > 5 and not again.differences


@pytest.mark.parametrize("present", [".xml", ".bin"])
def test_half_a_pair(exported, tmp_path, present):
    from instance_segmentation.ir.info import read_ir
    shutil.copy(exported.path.with_suffix(present), tmp_path)
    with pytest.raises(WeightsError, match="no such file. An OpenVINO model is a pair"):
        read_ir(tmp_path / f"model{present}")


def test_damaged_xml(exported, tmp_path):
    from instance_segmentation.ir.info import read_ir
    shutil.copy(exported.path.with_suffix(".bin"), tmp_path)
    (tmp_path / "model.xml").write_text(exported.path.read_text()[:2000])
    with pytest.raises(WeightsError, match="not a readable OpenVINO model"):
        read_ir(tmp_path / "model.xml")


def test_fp16_is_half_and_near(network, exported, tmp_path):
    result = write(network, tmp_path, fp16=True)
    assert result.size_mb < 0.55 * exported.size_mb
    assert result.parity.box_px < 2 and result.parity.detections > 5


def test_failed_gate_keeps_the_old_export(network, exported, tmp_path, monkeypatch):
    """An impossible tolerance: the folder keeps what it had, and nothing else."""
    from instance_segmentation.ir.parity import Tolerance
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_text("old")
    with pytest.raises(ExportError, match="does not compute what the checkpoint computes"):
        write(network, tmp_path, tolerance=Tolerance(box_px=-1.0))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"model.xml": "old", "model.bin": "old"}


def test_unwritable_folder(network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write(network, tmp_path / "file")


def test_checkpoint_to_ir(network, tmp_path):
    """The whole way from a file; the model names the checkpoint that made it."""
    from instance_segmentation.ir.export import export_ir
    own = dict(template="t", classes=list(CLASSES), input_size=[128, 160],
               config=dict(model=network.cfg.model.to_dict(), input_size=[128, 160]))
    torch.save(dict(state_dict=network.state_dict(), meta=dict(instseg=own)), tmp_path / "best.pth")
    result = export_ir(tmp_path / "best.pth", tmp_path / "out", template="t")
    assert result.info.origin["checkpoint"] == "best.pth" and len(result.info.origin["sha256"]) == 64
    assert np.isclose(result.info.size_mp, 10.07, atol=0.1)


def test_spread():
    from instance_segmentation.ir.export import spread
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread([1, 2], 8) == [1, 2]


def test_golden_samples_of_the_model_before_do_not_stay(tmp_path):
    from instance_segmentation.ir.export import replace_files
    from instance_segmentation.ir.golden import FILES
    (tmp_path / "new").mkdir()
    (tmp_path / "golden").mkdir()
    for name in ("new/labels.txt", "new/labels_nobg.txt", "new/model.bin", "new/model.xml", *FILES):
        (tmp_path / name).touch()
    replace_files(tmp_path / "new", tmp_path)
    assert not any((tmp_path / name).exists() for name in FILES) and (tmp_path / "model.xml").exists()
