"""`instseg create`: what the script is, and what is refused."""

import ast

import pytest

from instance_segmentation.cli import main
from instance_segmentation.errors import DatasetError, MediaError
from instance_segmentation.scripting.finding import find_images
from instance_segmentation.scripting.steps import read_label

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"


def imported(script):
    """Top-level packages that a script imports."""
    tree = ast.parse(script.read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in modules + names}


@pytest.mark.parametrize("flags", [[], ["--vanilla"]], ids=["ours", "vanilla"])
def test_script_has_the_seeds_functions_and_its_own_name(tmp_path, flags):
    script = tmp_path / "berries.py"
    assert main.main(["create", "--script", str(script), "--task", "segm", *flags]) == 0
    functions = {node.name: [argument.arg for argument in node.args.args] for node in ast.parse(script.read_text()).body
                 if isinstance(node, ast.FunctionDef)}
    assert functions["train"][:8] == ["label", "train", "valid", "test", "output_weights", "batch_size", "num_workers", "epoch"]
    assert functions["inference"] == ["label", "data", "model_weights", "output", "batch_size", "num_workers"]
    text = script.read_text()
    assert "python berries.py train" in text and "segm.py" not in text
    assert 'MODEL = "mask-rcnn_r101_fpn_1x_coco"' in text
    assert ("instance_segmentation" in imported(script)) is not bool(flags)


def test_model_is_written_into_the_script(tmp_path):
    for name in (TEMPLATE, "solov2_r50_fpn_1x_coco"):
        assert main.main(["create", "--script", str(tmp_path / "segm.py"), "--model", name, "--force"]) == 0
        assert f'MODEL = "{name}"' in (tmp_path / "segm.py").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    pytest.param(["--script", "there.py"], "--script there.py: exists; choose another name, or pass --force", id="exists"),
    pytest.param(["--script", "segm"], "expected a name ending in .py", id="no suffix"),
    pytest.param(["--script", "new.py", "--model", "mask_rcnn_r101_fpn_1x_coco"], "near: mask-rcnn_r101_fpn_1x_coco",
                 id="name of mmdet 2"),
])
def test_mistakes_are_named(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("mine")
    assert main.main(["create", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_label_has_a_class_per_line(tmp_path):
    (tmp_path / "label.txt").write_text("flower\n\ngreen fruit\r\n")
    assert read_label(tmp_path / "label.txt") == ["flower", "green fruit"]
    with pytest.raises(DatasetError, match="--label .*nowhere.txt: no such file"):
        read_label(tmp_path / "nowhere.txt")


def test_data_may_be_a_folder_an_image_or_a_list(tmp_path, sample_data):
    images = sorted((sample_data / "val").iterdir())
    (tmp_path / "test.txt").write_text("".join(f"{image}\tberry\n" for image in images))
    assert find_images(sample_data / "val") == find_images(tmp_path / "test.txt") == images
    assert sorted(find_images(sample_data / "val.json")) == images
    assert find_images(images[0]) == images[:1]
    with pytest.raises(MediaError, match="--data .*missing.jpg: there is no"):
        find_images(tmp_path / "missing.jpg")


@pytest.mark.parametrize("threshold, shown", [
    (0.3, "1 object from score 0.3 drawn"), ([0.1, 0.9], "2 objects from its class's own score drawn")])
def test_what_is_drawn_and_what_is_written_are_both_counted(threshold, shown):
    """Weakly trained weights: 300 objects in the file beside empty pictures looked like a mistake."""
    from instance_segmentation.scripting.finding import told
    found = [dict(category_id=1, score=0.2), dict(category_id=1, score=0.15), dict(category_id=2, score=0.5)]
    assert told(found, threshold) == f"{shown}, 3 with all that are less sure"
