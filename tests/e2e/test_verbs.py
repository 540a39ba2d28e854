"""train.py, eval.py, export.py, eval.py on the IR: files, formats, agreement."""

import json
import subprocess
import sys

import pytest
import torch
import yaml

from instance_segmentation.cli import eval as eval_verb
from instance_segmentation.cli import train as train_verb
from instance_segmentation.coco import read_annotations

from .conftest import OPTIONS, TINY, data_flags

pytestmark = pytest.mark.e2e


def test_training_leaves_the_documented_files(trained):
    outputs = trained / "outputs"
    for name in ("latest.pth", "best.pth", "curves.png", "scalars.json", "config.py", "train.json", "val.json", "run.lock.yaml",
                 "report.html"):
        assert (outputs / name).stat().st_size > 0, name
    assert list(outputs.rglob("events.out.tfevents*"))
    assert not list(outputs.rglob("*.tmp"))
    lines = [json.loads(line) for line in (outputs / "scalars.json").read_text().splitlines()]
    assert [line["step"] for line in lines if "segm/AP" in line] == [1, 2]
    assert all(line["loss"] > 0 for line in lines if "loss" in line)


def test_training_leaves_the_template_alone(trained):
    assert "RandomChoiceResize" in (trained / "model.py").read_text()
    assert "val.json" not in (trained / "model.py").read_text()


def test_checkpoint_is_plain_and_knows_its_run(trained):
    checkpoint = torch.load(trained / "outputs/latest.pth", weights_only=True)
    own = checkpoint["meta"]["instseg"]
    assert own["classes"] == ["berry", "starfish", "stone", "washer"]
    assert own["input_size"] == [96, 128]
    assert own["template"] == "efficientnet_b2b-mask_rcnn-480x480"
    assert checkpoint["optimizer"]["state"] and checkpoint["param_schedulers"]


def test_resume_continues_with_the_next_epoch(trained, sample_data, capsys):
    assert train_verb.main([*data_flags(sample_data, "train", "val"), "--epochs", "3", "--resume-from",
                            str(trained / "outputs/latest.pth"), "--save-checkpoints-to", str(trained / "resumed"), *TINY,
                            *OPTIONS], trained) == 0
    steps = [json.loads(line) for line in (trained / "resumed/scalars.json").read_text().splitlines()]
    assert [line["step"] for line in steps if "segm/AP" in line] == [1, 2, 3]  # the run so far comes along
    resumed = torch.load(trained / "resumed/latest.pth", weights_only=True)
    assert resumed["meta"]["epoch"] == 3
    assert "exp_avg" in resumed["optimizer"]["state"][0]  # still AdamW, the recipe for random weights


def test_metrics_yaml(evaluated):
    content = yaml.safe_load((evaluated / "metrics.yaml").read_text())
    assert [file["name"] for file in content["files"]] == ["latest.pth"]
    assert [metric["key"] for metric in content["metrics"]] == ["size", "complexity", "bbox", "segm"]
    unrounded = json.loads((evaluated / "metrics.json").read_text())["metrics"]
    assert content["metrics"][3]["value"] == round(100 * unrounded["segm/AP"], 3)
    assert set(unrounded) >= {"segm/AP/berry", "bbox/AP/washer", "segm/AP50", "segm/APs"}


def test_report_shows_the_same_numbers_and_how_they_were_made(evaluated):
    page, content = (evaluated / "report.html").read_text(), json.loads((evaluated / "metrics.json").read_text())
    for key, title in (("segm/AP", "mask AP"), ("bbox/AP50", "box AP50")):
        assert f"<b>{content['metrics'][key]:.3f}</b>{title}" in page
    assert content["files"][0]["sha256"] in page and "AdamW" in page  # the training's settings, from the lock beside the weights
    assert f"{content['ms_per_image']:.1f} ms" in page and page.count("data:image/svg+xml") == 5


def test_pictures_and_results(evaluated, sample_data):
    truth = json.loads((sample_data / "val.json").read_text())
    assert sorted(path.name for path in (evaluated / "pictures").iterdir()) == sorted(
        image["file_name"].split("/")[-1] for image in truth["images"])
    results = json.loads((evaluated / "results.json").read_text())
    assert results and {item["image_id"] for item in results} <= {image["id"] for image in truth["images"]}
    assert {item["category_id"] for item in results} <= {category["id"] for category in truth["categories"]}


def test_ir_scores_what_the_checkpoint_scores(evaluated, exported, sample_data):
    assert eval_verb.main(["--load-weights", str(exported / "export/model.bin"), *data_flags(sample_data, "test"),
                           "--save-metrics-to", str(exported / "ir.yaml"), "--save-output-to", str(exported / "ir_pictures"),
                           "--num-workers", "0"], exported) == 0
    checkpoint = json.loads((evaluated / "metrics.json").read_text())
    ir = json.loads((exported / "ir.json").read_text())
    assert yaml.safe_load((exported / "ir.yaml").read_text())["files"][0]["name"] == "model.bin"
    for key in ("bbox/AP", "segm/AP", "bbox/AP50", "segm/AP50"):
        assert abs(checkpoint["metrics"][key] - ir["metrics"][key]) <= 0.001, key
    assert (ir["size_mp"], ir["complexity_gflops"]) == (checkpoint["size_mp"], checkpoint["complexity_gflops"])
    assert sorted(path.name for path in (exported / "ir_pictures").iterdir()) == sorted(
        path.name for path in (evaluated / "pictures").iterdir())


@pytest.mark.parametrize("flags, message", [
    (["--classes", "berry,leaf"], "--classes: berry, leaf"),
    (["--load-weights", "nowhere.pth"], "nowhere.pth: no such file"),
], ids=["other classes", "missing weights"])
def test_eval_mistakes_exit_1_with_one_message(trained, sample_data, capsys, flags, message):
    code = eval_verb.main(["--load-weights", str(trained / "outputs/latest.pth"), *data_flags(sample_data, "test"),
                           "--save-metrics-to", str(trained / "x.yaml"), *flags], trained)
    assert code == 1
    assert message in capsys.readouterr().err
    assert not (trained / "x.yaml").exists()


def test_train_with_an_unknown_class_starts_nothing(work_dir, sample_data, tmp_path, capsys):
    code = train_verb.main([*data_flags(sample_data, "train", "val"), "--classes", "bery", "--save-checkpoints-to",
                            str(tmp_path / "none")], work_dir)
    assert code == 1 and "berry" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_black_image_is_a_normal_case(trained, exported, tmp_path):
    """No object anywhere: both kinds of weights evaluate, metrics are NaN (null), nothing crashes."""
    import cv2
    import numpy as np
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((60, 90, 3), np.uint8))
    categories = [dict(id=i, name=name) for i, name in enumerate(["berry", "starfish", "stone", "washer"], 1)]
    (tmp_path / "black.json").write_text(json.dumps(dict(
        images=[dict(id=1, file_name="black.png", width=90, height=60)], annotations=[], categories=categories)))
    for weights in ("outputs/latest.pth", "export/model.xml"):
        assert eval_verb.main(["--load-weights", str(trained / weights), "--test-ann-files", str(tmp_path / "black.json"),
                               "--test-data-roots", str(tmp_path), "--save-metrics-to", str(tmp_path / "m.yaml"),
                               "--num-workers", "0", "--report", str(tmp_path / "report.html")], trained) == 0
        assert json.loads((tmp_path / "m.json").read_text())["metrics"]["segm/AP"] is None
        assert "<b>–</b>mask AP" in (tmp_path / "report.html").read_text()


def test_wrapper_runs_from_any_folder(trained, sample_data, tmp_path):
    """eval.py as a user starts it: another process, another cwd, an image folder given relative to it."""
    result = subprocess.run(
        [sys.executable, str(trained / "eval.py"), "--load-weights", str(trained / "outputs/latest.pth"), "--test-ann-files",
         "val.json", "--test-data-roots", "val", "--save-metrics-to", str(tmp_path / "m.yaml")],
        cwd=sample_data, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "segm AP" in result.stdout and "Traceback" not in result.stderr
    assert len(read_annotations([sample_data / "val.json"], [sample_data / "val"]).images) == 4
