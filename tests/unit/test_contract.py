"""`instseg check-ir`: what it says about models of all kinds. test_other_tools asks the Open Model Zoo demo itself."""

import numpy as np
import pytest

from instance_segmentation.cli import main
from tests.unit import tiny_models

OWN = dict(model_type="MaskRCNN", labels="otx_empty_lbl cat dog")


def ask(path, capsys):
    """Exit code, and what was printed on both streams."""
    code = main.main(["check-ir", str(path)])
    out, err = capsys.readouterr()
    return code, out, err


def failures(out):
    lines = out.splitlines()
    return [f"{line[12:]} {lines[number + 1]}" for number, line in enumerate(lines) if line.startswith("FAILED")]


def test_a_model_for_all_clients(tmp_path, capsys):
    code, out, err = ask(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=OWN), capsys)
    assert (code, err, failures(out)) == (0, "", [])
    assert "Runs in     Open Model Zoo demo, Model API, instseg demo\n" in out and "Not in" not in out
    assert "Kind        Mask R-CNN of this tool" in out and "Model API's: labels, model_type" in out
    assert "[1, 3, 64, 96]" in out and "i64" in out


@pytest.mark.parametrize("options, failed", [
    (dict(shape=(1, 3, -1, -1)), "lengths fixed (Open Model Zoo demo, Model API)   it is image f32 [1, 3, ?, ?]; fix its shape"),
    (dict(shape=(1, 1, 64, 96)), "it is image f32 [1, 1, 64, 96]"),
    (dict(batch=True), "it has boxes f32 [1, 1, 5], labels i64 [1, 1], masks f32 [1, 1, 14, 14]; remove outputs of other ranks"),
    (dict(rt_info=dict(OWN, scale_values="58.4 57.1 57.4")), "its metadata asks for scale_values, which the demo does not read"),
    (dict(rt_info=dict(OWN, reverse_input_channels="YES")), "asks for reverse_input_channels"),
    (dict(rt_info=dict(OWN, resize_type="fit_to_window")), "resize_type 'fit_to_window', which the demo does not read"),
], ids=["any size", "gray", "batch dimension", "scale outside", "RGB", "aspect ratio"])
def test_what_breaks_the_demos_contract(tmp_path, capsys, options, failed):
    code, out, err = ask(tiny_models.mask_rcnn(tmp_path / "m.xml", **dict(rt_info=OWN) | options), capsys)
    assert code == 1 and len(failures(out)) == 1 and failed in failures(out)[0]
    assert f"{tmp_path / 'm.xml'}: breaks the contract of the Open Model Zoo demo" in err


def test_float_labels_and_two_outputs_of_one_rank(tmp_path, capsys):
    outputs = dict(boxes=tiny_models.constant(np.zeros((1, 5))), labels=tiny_models.constant([0]),
                   masks=tiny_models.constant(np.zeros((1, 14, 14))), areas=tiny_models.constant([0]))
    _, out, _ = ask(tiny_models.save(outputs, dict(image=tiny_models.image_input()), tmp_path / "m.xml", OWN), capsys)
    assert "labels are integers" in "".join(failures(out)) and "they are areas f32 [1]; make them i64" in out
    assert "one of each and no others" in failures(out)[0] and "none of the programs known here" in out


@pytest.mark.parametrize("entries, failed", [
    ({}, ["there is none; pass model_type='MaskRCNN'", "there are none; pass configuration={'labels'"]),
    (dict(OWN, labels="cat dog"), ["they begin with 'cat'; put otx_empty_lbl first"]),
], ids=["none", "no background"])
def test_metadata_matters_to_model_api_only(tmp_path, capsys, entries, failed):
    code, out, _ = ask(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=entries), capsys)
    assert code == 0 and [text in failure for text, failure in zip(failed, failures(out), strict=True)] == [True] * len(failed)
    assert "Not in      Model API;" in out


def test_yolact(tmp_path, capsys):
    code, out, _ = ask(tiny_models.yolact(tmp_path / "y.xml", sides=(16, 16)), capsys)
    assert code == 0 and "Kind        YOLACT" in out and "Runs in     Open Model Zoo demo, instseg demo\n" in out


def test_segmentoly_with_an_output_that_the_demo_does_not_know(tmp_path, capsys):
    code, out, _ = ask(tiny_models.segmentoly(tmp_path / "s.xml"), capsys)
    assert code == 1 and "batch_ids f32 [2]; remove or rename the others" in out and "Runs in     instseg demo\n" in out


def test_no_segmentation_model_at_all(tmp_path, capsys):
    path = tiny_models.save(dict(classes=tiny_models.constant([[1, 0]])), dict(image=tiny_models.image_input()),
                            tmp_path / "classifier.xml")
    code, out, _ = ask(path, capsys)
    assert code == 1 and "none that is known here" in out and "YOLACT: lacks output 'boxes' of rank 3" in out


def test_files_that_are_not_there(tmp_path, capsys):
    for name, text in ("a.xml", "An OpenVINO model is a pair"), ("a.onnx", "no such file"):
        assert main.main(["check-ir", str(tmp_path / name)]) == 1
        assert text in capsys.readouterr().err
