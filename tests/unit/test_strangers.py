"""Models of other tools: named right, or told what they are and what runs them."""

import numpy as np
import pytest

from instance_segmentation.cli import main
from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, load_exported
from tests.unit import tiny_models

WHITE = np.full((64, 96, 3), 255, np.uint8)
STRANGERS = {
    "YOLO11": (tiny_models.yolo, "a YOLO, as Ultralytics exports it", "run it with ultralytics"),
    "YOLO26": (lambda path: tiny_models.yolo(path, end_to_end=True), "a YOLO, as Ultralytics exports it", "with ultralytics"),
    "RF-DETR": (tiny_models.rf_detr, "an RF-DETR", "run it with the program that exported it (rfdetr)"),
    "RF-DETR with names": (lambda path: tiny_models.rf_detr(path, named=True), "an RF-DETR", "(rfdetr)"),
    "DETR of getitune": (lambda path: tiny_models.getitune(path, whole_masks=True), "a DETR of getitune", "with Model API"),
}


@pytest.fixture(params=STRANGERS)
def stranger(request, tmp_path):
    make, *expected = STRANGERS[request.param]
    return make(tmp_path / "stranger.xml"), *expected


def test_check_ir_says_what_it_is_instead_of_remedies_that_lead_nowhere(stranger, capsys):
    path, title, remedy = stranger
    assert main.main(["check-ir", str(path)]) == 1
    out, err = capsys.readouterr()
    assert f"Kind        {title}" in out and remedy in out and out.count("FAILED") == 2, "once, and in the last line"
    assert "passed" not in out and "MaskRCNN" not in out
    assert f"Runs in     {'Model API' if 'Model API' in remedy else 'none of the programs known here'}\n" in out


def test_the_demo_says_it_before_it_asks_for_names(stranger):
    path, title, remedy = stranger
    with pytest.raises(WeightsError) as caught:
        load_exported(path)
    message = str(caught.value)
    assert f"stranger.xml: is {title}" in message and "This tool cannot run it; " in message and remedy in message


def test_ports_without_names_are_no_obstacle(tmp_path):
    found = [tiny_models.constant([[24, 16, 72, 48, 0.9]]), tiny_models.constant([1], np.int64),
             tiny_models.constant(np.ones((1, 14, 14)))]
    path = tiny_models._unnamed(found, tiny_models.image_input(), tmp_path / "m.xml", dict(labels="otx_empty_lbl cat dog"))
    assert load_exported(path)(WHITE).names() == ["dog"]


def test_getitunes_first_label_is_no_class(tmp_path, capsys):
    model = load_exported(tiny_models.getitune(tmp_path / "m.xml"), LoadOptions(threshold=0.0))
    assert model.classes == ("cat", "red dog") and model(WHITE).names() == ["red dog"]
    assert load_exported(tiny_models.getitune(tmp_path / "l.xml", label_info="{}")).classes == ("cat", "red_dog")
    assert main.main(["check-ir", str(tmp_path / "m.xml")]) == 1, "the demo wants a fixed number of images"
    out = capsys.readouterr().out
    assert "Runs in     Model API, instseg demo\n" in out and "OTX or getitune, or RTMDet-Ins, with a batch dimension" in out


@pytest.mark.parametrize("entries, factor", [
    ({}, 1 / 255), (dict(mean_values="0.2 0.2 0.2"), 0.8 / 255), (dict(scale_values="0.5 0.5 0.5"), 2 / 255),
    (dict(intensity_max_value="510"), 1 / 510), (dict(intensity_mode=""), 1),
], ids=["unit", "mean", "scale", "largest value", "none"])
def test_getitunes_pixels(tmp_path, entries, factor):
    """The tiny model's score is 0.9 × brightness / 255; a white image's brightness is 255 × factor."""
    model = load_exported(tiny_models.getitune(tmp_path / "m.xml", **entries), LoadOptions(threshold=0.0))
    assert model(WHITE).scores == pytest.approx([0.9 * factor], rel=1e-4)
    assert model.rgb, "getitune trains on RGB"
    turned = load_exported(tiny_models.getitune(tmp_path / "t.xml", reverse_input_channels="True"))
    assert not turned.rgb


def test_pixels_that_only_model_api_can_make(tmp_path):
    with pytest.raises(WeightsError, match="wants its pixels by intensity_mode 'percentile' of type u16.*run it with Model API"):
        load_exported(tiny_models.getitune(tmp_path / "m.xml", intensity_mode="percentile", input_dtype="u16"))


def test_an_rgb_export_is_not_sent_to_a_program_that_feeds_bgr(tmp_path, capsys):
    info = dict(model_type="MaskRCNN", labels="otx_empty_lbl cat dog",
                instseg_export='{"classes": ["cat", "dog"], "channel_order": "RGB"}')
    path = tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=info)
    assert main.main(["check-ir", str(path)]) == 1
    out = capsys.readouterr().out
    assert "it takes RGB, and clients feed the BGR that OpenCV reads" in out and "image[..., ::-1]" in out
    assert "Runs in     instseg demo\n" in out


def test_no_metadata_is_no_promise(tmp_path, capsys):
    main.main(["check-ir", str(tiny_models.mask_rcnn(tmp_path / "m.xml"))])
    assert "it has no metadata that says otherwise; mean and scale must be inside" in capsys.readouterr().out


@pytest.mark.parametrize("name, message", [
    ("best.pth", "best.pth: is a checkpoint; export it first (instseg export), and give the model.xml"),
    ("photo.jpg", "photo.jpg: expected a model ending in .xml, .bin or .onnx"),
])
def test_what_is_no_exported_model(tmp_path, capsys, name, message):
    (tmp_path / name).touch()
    assert main.main(["check-ir", str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_export_names_the_programs_that_feed_the_right_pixels(capsys, order):
    from pathlib import Path
    from types import SimpleNamespace

    from instance_segmentation.deployment.exporting import _tell_how_to_run
    from instance_segmentation.inference.contracts import MASK_RCNN
    from instance_segmentation.ir.info import IrInfo
    result = SimpleNamespace(info=IrInfo(("cat",), (64, 96), channel_order=order), path=Path("out/model.xml"), contract=MASK_RCNN)
    _tell_how_to_run(result, SimpleNamespace(path=Path("work")))
    out = capsys.readouterr().out
    assert ("OMZ demo" in out) == (order == "BGR") and ("[..., ::-1]" in out) == (order == "RGB")
