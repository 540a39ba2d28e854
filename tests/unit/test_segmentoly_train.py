"""`tools/train.py`: Segmentoly's flags, and what they become; no network is built."""

import subprocess
import sys

import pytest
import yaml

from instance_segmentation import api
from instance_segmentation.cli.segmentoly import NETWORKS, template_name
from instance_segmentation.cli.segmentoly_train import main
from instance_segmentation.training import iterations

FLAGS = ("model", "dataset", "load_cfg", "save_cfg", "display_interval", "nw", "bs", "bs_per_gpu", "resume", "output_dir",
         "load_ckpt", "load_backbone", "checkpoint_interval", "test_interval", "lr", "weight_decay", "momentum", "warmup_iters",
         "warmup_factor", "warmup_method", "max_iter", "drop_lr", "gamma", "max_image_size", "mean_pixel")
# As Segmentoly's own --save_cfg wrote it
THEIRS = """
batch_size: 4
drop_lr: !!python/tuple [30, 40]
load_cfg: null
save_cfg: mine.yaml
resume: false
model: segmentoly.rcnn.model_zoo.resnet_fpn_mask_rcnn.ResNet50FPNMaskRCNN
dataset: coco2017
lr: 0.01
num_workers: 0
"""


@pytest.fixture
def trained(monkeypatch):
    """What `api.train_iterations` is called with, without training."""
    calls = []
    monkeypatch.setattr(iterations, "train_iterations", lambda *args, **options: calls.append(options))
    return calls


def test_without_flags_everything_is_the_baseline(trained):
    assert main([]) == 0 and trained == [{}]
    assert api.find_template(iterations.BASELINE).problem.endswith("Instance Segmentation")


def test_flags_reach_the_training(trained, tmp_path):
    assert main(["--model", "my_template", "--dataset", "a.json", "b.json", "--bs", "8", "--nw", "0", "--drop_lr", "5", "7",
                 "--warmup_method", "constant", "--save_cfg", str(tmp_path / "c.yaml")]) == 0
    expected = dict(model="my_template", batch_size=8, num_workers=0, drop_lr=[5, 7], warmup_method="constant")
    assert trained == [dict(expected, datasets=["a.json", "b.json"])]
    assert yaml.safe_load((tmp_path / "c.yaml").read_text()) == dict(expected, dataset=["a.json", "b.json"])


def test_a_configuration_of_segmentoly_is_read_and_flags_go_first(trained, tmp_path):
    (tmp_path / "c.yaml").write_text(THEIRS)
    assert main(["--load_cfg", str(tmp_path / "c.yaml"), "--lr", "0.5"]) == 0
    assert trained == [dict(model=iterations.BASELINE, batch_size=4, drop_lr=[30, 40], lr=0.5, num_workers=0)]


@pytest.mark.parametrize("name", NETWORKS)
def test_segmentolys_classes_are_templates(name):
    assert api.find_template(template_name(f"segmentoly.rcnn.model_zoo.any_module.{name}")).name == NETWORKS[name]


@pytest.mark.parametrize(("words", "says"), [
    (["--dataset", "a.json"], "--dataset a.json: expected coco2017, or two names"),
    (["--load_cfg", "nowhere.yaml"], "--load_cfg nowhere.yaml: cannot be read")], ids=str)
def test_mistakes(trained, capsys, words, says):
    assert main(words) == 1 and not trained
    assert says in capsys.readouterr().err


def test_coco_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1 and not list(tmp_path.iterdir())
    assert "annotations/instances_train2017.json is missing; unpack MS COCO to data/coco" in capsys.readouterr().err


def test_entries_that_are_no_flags(trained, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("speed: 3\n")
    assert main(["--load_cfg", str(tmp_path / "c.yaml")]) == 1 and not trained
    assert "has entries that are no flags: speed; expected some of" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "says"), [
    (dict(load_ckpt="a.pth", load_backbone="b.pth"), "--load_ckpt and --load_backbone: both say where to start"),
    (dict(resume=True), "--resume: name the checkpoint")], ids=str)
def test_starts_that_contradict_each_other(options, says, tmp_path):
    with pytest.raises(iterations.TrainingError, match=says):
        iterations.train_iterations(output_dir=tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["load_ckpt", "load_backbone"])
def test_a_file_that_is_not_there_leaves_nothing_behind(flag, tmp_path):
    with pytest.raises(iterations.WeightsError, match=f"--{flag} nope.pth: no such file"):
        iterations.train_iterations(output_dir=tmp_path, **{flag: "nope.pth"})
    assert not list(tmp_path.iterdir())


def test_data_that_are_wrong_leave_no_folder_and_other_runs_stay(tmp_path):
    ours, theirs = tmp_path / "outputs/template/now", tmp_path / "outputs/template/before"
    for error in (iterations.DatasetError, iterations.TrainingError):
        theirs.mkdir(parents=True, exist_ok=True)
        ours.mkdir()
        with pytest.raises(error), iterations._removed_unless_begun(ours):
            raise error("wrong")
        assert theirs.is_dir() and ours.is_dir() == (error is iterations.TrainingError)


def test_help_is_instant(repo):
    code = (f"import sys; sys.path.insert(0, {str(repo)!r})\nfrom instance_segmentation.cli import segmentoly_train\n"
            "print(segmentoly_train.parser().format_help())\nprint(sorted({'torch', 'mmdet', 'yaml'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert [flag for flag in FLAGS if f"--{flag} " not in out] == [] and out.splitlines()[-1] == "[]"
