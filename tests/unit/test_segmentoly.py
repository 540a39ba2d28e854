"""Segmentoly's front end of the demo, with a two-input model of constants; no torch."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from instance_segmentation.cli import demo, segmentoly
from tests.unit import tiny_models

DATA = dict(images=[], annotations=[], categories=[dict(id=4, name="cow"), dict(id=1, name="cat"), dict(id=2, name="dog")])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Finds a `dog` in the middle of what its second input says the image covers."""
    return tiny_models.segmentoly(tmp_path_factory.mktemp("model") / "m.xml")


@pytest.fixture
def run(model, tmp_path):
    """Run the demo on three images, 100 high and 200 wide; gives (exit code, JSON lines)."""
    photos = [str(tmp_path / f"{index}.png") for index in range(3)]
    for photo in photos:
        cv2.imwrite(photo, np.full((100, 200, 3), 255, np.uint8))
    (tmp_path / "data.json").write_text(json.dumps(DATA))

    def call(*words, weights=None, backend="openvino"):
        weights = weights or str(model.with_suffix(".bin"))
        code = demo.main(["--dataset", str(tmp_path / "data.json"), "--ckpt", weights, "--images", *photos, backend, "--model",
                          str(model), "--no_show", "--save-json", str(tmp_path / "o.jsonl"), *words])
        lines = (tmp_path / "o.jsonl").read_text().splitlines() if (tmp_path / "o.jsonl").is_file() else []
        return code, [json.loads(line) for line in lines]
    return call


@pytest.mark.parametrize("backend", ["openvino", "OpenVINO", "OpenVINO™"])
@pytest.mark.parametrize("resize", [("--fit_max", "48", "96"), ("--fix_max", "64", "70"), ("--fit_window", "40", "96"),
                                    ("--fit_window", "64", "96")], ids=" ".join)
def test_the_image_lies_where_the_model_is_told(run, backend, resize):
    code, lines = run(*resize, backend=backend)
    assert code == 0 and [line["source"] for line in lines] == ["0.png", "1.png", "2.png"]
    for line in lines:
        (item,) = line["objects"]
        assert (item["label"], item["track_id"]) == ("dog", None)
        np.testing.assert_allclose(item["box"], [50, 25, 150, 75], atol=0.6)  # half a pixel of the input


@pytest.mark.parametrize(("words", "says"), [
    (["--fit_window", "65", "96"], "--fit_window 65 96: the input of (.*)m.xml is fixed at 64 96 (.*) and keeps that"),
    (["--fit_max", "64", "128"], "--fit_max 64 128: makes 64×128 of an image of 100×200, more than (.*)64×96"),
    (["--fit_max", "48", "96", "-pp", "x"], "--plugin_dir: OpenVINO finds its plugins itself"),
    (["--fit_max", "48", "96", "-l", "no.so"], "--cpu_extension no.so: cannot be loaded"),
    (["--fit_max", "48", "96", "-d", "TOASTER"], "OpenVINO device TOASTER"),
    (["--fit_max", "48", "96", "--dataset", "voc"], "--dataset voc: expected coco_YEAR_SPLIT"),
    (["--fit_max", "48", "96", "--dataset", "coco_2017_val"], "--dataset: 80 names, but the model has 3 classes")], ids=str)
def test_mistakes(run, capsys, words, says):
    assert run(*words)[0] == 1
    assert re.search(says, capsys.readouterr().err)


def test_weights_that_are_not_beside_the_network(run, capsys):
    assert run("--fit_max", "48", "96", weights="other.bin")[0] == 1
    assert "--ckpt other.bin: expected" in capsys.readouterr().err


def test_mean_threshold_and_time_by_layer(run, capsys):
    code, lines = run("--fit_max", "48", "96", "--mean_pixel", "102.9801", "115.9465", "122.7717", "-pt", "0.05", "--show_pc")
    assert code == 0 and [len(line["objects"]) for line in lines] == [2, 2, 2]
    assert "layer type" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "says"), [
    (["--ckpt", "a.bin", "--images", "x.jpg", "--fit_max", "48", "96"], "expected a sub-command, pytorch or openvino"),
    (["openvino", "--ckpt", "a.bin", "--images", "x.jpg", "--model", "m.xml"], "--fit_max/--fix_max --fit_window is required"),
    (["openvino", "--ckpt", "a.bin", "--model", "m.xml", "--fit_max", "48", "96"], "-v/--video -i/--images is required"),
    (["openvino", "--ckpt", "a.bin", "--images", "x.jpg", "--fit_max", "48", "96"], "required: --model")])
def test_what_is_required(words, says, capsys):
    with pytest.raises(SystemExit) as caught:
        demo.main(words)
    assert caught.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "meant"), [
    (["-m", "m.xml", "--adapter", "openvino", "-i", "0"], False), (["pytorch", "-h"], True), (["--ckpt=a.pth"], True),
    ([], False)])
def test_which_front_end_is_meant(argv, meant):
    assert bool(segmentoly.is_meant(argv)) == meant


@pytest.mark.parametrize("flags", [["--show_fps"], []], ids=str)
def test_frames_per_second_are_written_when_asked_for(run, tmp_path, flags):
    assert run("--fit_max", "48", "96", "-o", str(tmp_path / "o_%d.png"), *flags)[0] == 0
    corner = cv2.imread(str(tmp_path / "o_2.png"))[:8, :8]  # once two are finished
    assert (corner.mean() < 200) == bool(flags)


@pytest.mark.parametrize("backend", ["pytorch", "openvino"])
def test_help_of_the_evaluation_is_instant(repo, backend):
    code = (f"import sys; sys.path.insert(0, {str(repo)!r})\nfrom instance_segmentation.cli import segmentoly\n"
            f"print(segmentoly.test_parser('test.py', {backend!r}).format_help())\n"
            "print(sorted({'torch', 'mmdet', 'openvino', 'cv2', 'numpy'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    flags = ["--fit_max", "--fit_window", "--size", "--mean_pixel", "--rgb", "--nw", "--ckpt", "--dataset"]
    flags += ["--batch_size", "--show_flops", "--show_layers_flops"] if backend == "pytorch" else ["--show_pc", "--cpu_extension"]
    assert [flag for flag in flags if flag not in out] == [] and out.splitlines()[-1] == "[]"
