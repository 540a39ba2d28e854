"""`convert_to_onnx`: our arguments and Segmentoly's mean the same."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from instance_segmentation import api
from instance_segmentation.cli.convert_to_onnx import main

INFO = SimpleNamespace(input_size=(800, 1344), complexity_gflops=527.94, size_mp=44.4)


@pytest.fixture
def calls(monkeypatch):
    """What `api.convert_to_onnx` was called with."""
    seen = []

    def convert_to_onnx(*args, **options):
        seen.append((args, options))
        return SimpleNamespace(info=INFO)

    monkeypatch.setattr(api, "convert_to_onnx", convert_to_onnx, raising=False)
    return seen


SEGMENTOLY = ["--model", "segmentoly.rcnn.model_zoo.resnet_fpn_mask_rcnn.ResNet50FPNMaskRCNN", "--ckpt", "a.pth",
              "--input_size", "800", "1344", "--dataset", "coco_2017_val", "--show_flops", "--output_file", "a.onnx"]
OURS = ["mask_rcnn_r50_fpn-800x1344", "a.onnx", "--load-weights", "a.pth", "--input-size", "800", "1344"]


@pytest.mark.parametrize("words", [SEGMENTOLY, OURS], ids=["Segmentoly's", "ours"])
def test_both_command_lines_are_the_same_call(calls, words):
    assert main(words) == 0
    (source, output), options = calls[0]
    assert (source, Path(output)) == ("mask_rcnn_r50_fpn-800x1344", Path("a.onnx"))
    assert options == dict(load_weights=Path("a.pth"), input_size=(800, 1344), trust_checkpoint=False)


def test_what_segmentoly_needs_and_we_do_not_is_said_and_the_operations_are_printed(calls, capsys):
    assert main(SEGMENTOLY) == 0
    out = capsys.readouterr().out
    assert "--dataset coco_2017_val is not needed" in out and "527.94 GFLOPs at 800×1344, 44.40 Mp" in out


def test_without_source_and_file_both_ways_are_named(calls, capsys):
    assert main(["--ckpt", "a.pth"]) == 1
    assert "expected SOURCE and FILE, or --model and --output_file" in capsys.readouterr().err and not calls


@pytest.mark.parametrize("words, flag", [(SEGMENTOLY, "--ckpt"), (OURS, "--load-weights")])
def test_a_missing_checkpoint_is_told_by_the_flag_that_was_used(words, flag, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    err = capsys.readouterr().err
    assert f"{flag} a.pth: no such file" in err
