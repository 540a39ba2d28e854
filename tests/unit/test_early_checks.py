"""What is refused before torch is imported."""

import json
import subprocess
import sys

import pytest

from instance_segmentation.early_checks import check_annotation_files, check_weights_file
from instance_segmentation.errors import DatasetError, WeightsError
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.templates.workdir import instantiate

COCO = dict(images=[], annotations=[], categories=[dict(id=1, name="a")])


@pytest.mark.parametrize("name, words", [
    ("best.pht", "did you mean .*best.pth"), ("none/best.pth", r"none does not exist"), ("labels.txt", r"ends in \.pth"),
    ("folder", "is a folder; .* for example .*inside.xml"), ("lonely.bin", "lonely.xml is missing beside it"),
    ("lonely.xml", "did you mean"),
])
def test_weights_that_cannot_be_meant_are_refused_with_what_could(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    for file in ("best.pth", "labels.txt", "folder/inside.xml", "lonely.bin"):
        (tmp_path / file).touch()
    with pytest.raises(WeightsError, match=words):
        check_weights_file(tmp_path / name)


def test_weights_that_are_there_are_taken(tmp_path):
    for name in ("a.pth", "a.xml", "a.bin", "a.onnx"):
        (tmp_path / name).touch()
    for name in ("a.pth", "a.xml", "a.bin", "a.onnx"):
        assert check_weights_file(str(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize("file, root, words", [
    ("none.json", ".", "none.json"), ("no.json", ".", "COCO"),
    ("a.json", "photo", r"no such image folder; did you mean .*photos\?")])
def test_annotations_and_folders_that_are_not_there(tmp_path, file, root, words):
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    (tmp_path / "no.json").write_text("[]")
    check_annotation_files([str(tmp_path / "a.json")], [str(tmp_path / "photos")])
    with pytest.raises(DatasetError, match=words):
        check_annotation_files([str(tmp_path / file)], [str(tmp_path / root)])


@pytest.mark.parametrize("flags", [
    ["--load-weights", "none.pth", "--test-ann-files", "a.json"], ["--load-weights", "a.pth", "--test-ann-files", "none.json"]])
def test_eval_refuses_a_missing_file_without_importing_torch(tmp_path, flags):
    instantiate(find_template("efficientnet_b2b-mask_rcnn-480x480"), tmp_path / "work", load_snapshot=False)
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    (tmp_path / "a.pth").touch()
    program = ("import sys; from instance_segmentation.cli.main import main; code = main(sys.argv[1:]); "
               "print(code, 'torch' in sys.modules)")
    result = subprocess.run([sys.executable, "-c", program, "eval", "work", *flags, "--test-data-roots", ".",
                             "--save-metrics-to", "m.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.split()[-2:] == ["1", "False"]
    assert result.stderr.startswith("instseg eval: ") and "none." in result.stderr


@pytest.mark.parametrize("verb, flags, words", [
    ("export", ["--load-weights", "none.pth"], "none.pth"),
    ("export", ["--load-weights", "a.pth", "--test-ann-files", "none.json", "--test-data-roots", "."], "none.json"),
    ("compress", ["--load-weights", "none.xml"], "none.xml"), ("compress", ["--load-weights", "a.pth"], "none.json"),
    ("compress", ["--load-weights", "fp32/model.xml", "--save-model-to", "fp32/../fp32"], "folder of --load-weights"),
])
def test_export_and_compress_refuse_without_importing_torch(tmp_path, verb, flags, words):
    instantiate(find_template("efficientnet_b2b-mask_rcnn-480x480"), tmp_path / "work", load_snapshot=False)
    (tmp_path / "fp32").mkdir()
    for name in ("a.pth", "fp32/model.xml", "fp32/model.bin"):
        (tmp_path / name).touch()
    data = ["--train-ann-files", "none.json", "--train-data-roots", ".", "--val-ann-files", "none.json", "--val-data-roots", "."]
    program = ("import sys; from instance_segmentation.cli.main import main; code = main(sys.argv[1:]); "
               "print(code, 'torch' in sys.modules)")
    result = subprocess.run([sys.executable, "-c", program, verb, "work", "--save-model-to", "out", *flags,
                             *(data if verb == "compress" else [])], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.split()[-2:] == ["1", "False"] and words in result.stderr
    assert not (tmp_path / "out").exists()
