"""Generated scripts, run as generated; mmdet's configurations as networks of ours, and ours as mmdet's."""

import csv
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from mmdet.registry import MODELS
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from instance_segmentation.cli import main
from instance_segmentation.data.sample import write_sample_dataset
from instance_segmentation.engine.config import read_config
from instance_segmentation.engine.mask_statistics import mask_statistics
from instance_segmentation.engine.metrics import coco_metrics
from instance_segmentation.engine.mmdet_configs import PLAIN, adopt, as_mmdet
from instance_segmentation.templates.catalogue import find_mmdet_config, find_template

pytestmark = pytest.mark.component

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
CLASSES = ["washer", "berry", "stone", "starfish"]  # not the order of the data's ids
TRAIN_COLUMNS = ["epoch", "lr", "data_time", "loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "acc", "loss_bbox", "loss_mask",
                 "time", "memory"]
VALID_COLUMNS = [f"coco/{kind}_mAP{suffix}" for kind in ("bbox", "segm") for suffix in ("", "_50", "_75", "_s", "_m", "_l")]
IN_A_PROCESS = "import json, sys; sys.path.insert(0, '.'); import segm; segm.train(**json.loads(sys.argv[1])); " \
               "segm.inference(**json.loads(sys.argv[2]))"


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def few_images(tmp_path_factory):
    """A data set of six images: each run of a script trains, validates, tests and predicts."""
    return write_sample_dataset(tmp_path_factory.mktemp("few"), train=4, val=2, size_hw=(128, 128), seed=2)


def run_ours(folder, training, inference):
    spec = importlib.util.spec_from_file_location("segm", folder / "segm.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.train(**training)
    script.inference(**inference)


def run_vanilla(folder, training, inference):
    """In a process of its own: mmengine's runner changes much that is global."""
    run = subprocess.run([sys.executable, "-c", IN_A_PROCESS, json.dumps(training), json.dumps(inference)], cwd=folder,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("flags", "run"), [pytest.param([], run_ours, id="ours"),
                                            pytest.param(["--vanilla"], run_vanilla, id="vanilla")])
def test_script_leaves_the_seeds_files(tmp_path, few_images, flags, run):
    assert main.main(["create", "--script", str(tmp_path / "segm.py"), "--model", TEMPLATE, *flags]) == 0
    (tmp_path / "label.txt").write_text("\n".join(CLASSES))
    files, weights = {name: str(few_images / f"{name}.json") for name in ("train", "val")}, str(tmp_path / "out" / "berries.pth")
    common = dict(label=str(tmp_path / "label.txt"), batch_size=4, num_workers=0)
    run(tmp_path, dict(common, train=files["train"], valid=files["val"], test=files["val"], output_weights=weights, epoch=1,
                       weights="none", input_size=96),
        dict(common, data=str(few_images / "val"), model_weights=weights, output=str(tmp_path / "found")))
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} >= {"berries.pth", "berries.py", "berries.dl.txt", "berries",
                                                     "berries.train_stats.train.png", "berries.train_stats.valid.png"}
    (trained,), (scored,) = (table(out / f"berries.train_stats.{split}.txt") for split in ("train", "valid"))
    assert list(trained) == TRAIN_COLUMNS and list(scored) == [*VALID_COLUMNS, "data_time", "time", "step"]
    assert float(trained["loss"]) > 0 and (trained["epoch"], scored["step"]) == ("1", "1")
    stats = json.loads((out / "berries.test_stats.json").read_text())
    assert list(stats["class_stats"]) == CLASSES and len(stats["stats"]) == 12
    assert len(COCO(out / "berries/test_outputs.coco.json").imgs) == 2
    found = json.loads((tmp_path / "found/instances.json").read_text())
    assert [category["name"] for category in found["categories"]] == CLASSES
    pictures = {path.name for path in (few_images / "val").iterdir()}
    assert {path.name for path in (tmp_path / "found").iterdir()} == {*pictures, "instances.json"}
    assert {image["file_name"].split("/")[-1] for image in found["images"]} == pictures


def test_statistics_say_what_their_names_say(tmp_path, sample_data):
    content = json.loads((sample_data / "val.json").read_text())
    objects = [item for item in content["annotations"] if not item["iscrowd"]]
    truth = COCO(sample_data / "val.json")
    detections = [dict(image_id=item["image_id"], category_id=item["category_id"] if number % 5 else 1 + item["category_id"] % 4,
                       bbox=item["bbox"], score=1 / (1 + number), segmentation=rle(truth, item))
                  for number, item in enumerate(objects) if number % 7]
    annotations = [dict(item, id=number, iscrowd=0, area=objects[0]["area"]) for number, item in enumerate(detections, 1)]
    (tmp_path / "found.json").write_text(json.dumps({**content, "annotations": annotations}))
    statistics, metrics = mask_statistics(sample_data / "val.json", tmp_path / "found.json"), coco_metrics(
        sample_data / "val.json", detections)
    assert 0.1 < statistics["stats"]["AP@[0.50:0.95|all|100]"] < 0.9
    for name, key in {"AP@[0.50:0.95|all|100]": "AP", "AP@[0.50|all|1000]": "AP50", "AP@[0.75|all|1000]": "AP75",
                      "AR@[0.50:0.95|all|100]": "AR100"}.items():
        assert statistics["stats"][name] == pytest.approx(metrics[f"segm/{key}"])
    for name, values in statistics["class_stats"].items():
        assert values["AP@[0.50:0.95|all|100]"] == pytest.approx(metrics[f"segm/AP/{name}"])
    assert statistics["stats"]["AP@[0.50:0.95|large|1000]"] == -1  # the sample's objects are smaller


def rle(truth, item):
    found = coco_mask.encode(np.asfortranarray(truth.annToMask(item)))
    return dict(size=found["size"], counts=found["counts"].decode())


@pytest.mark.parametrize("name", ["mask-rcnn_r101_fpn_1x_coco", "solov2_r50_fpn_1x_coco", "cascade-mask-rcnn_r50_fpn_1x_coco"])
def test_adopted_network_needs_no_download_and_keeps_its_optimizer(config_480, name):
    theirs = read_config(find_mmdet_config(name))
    cfg = adopt(read_config(find_mmdet_config(name)), config_480)
    assert cfg.model.type == theirs.model.type and cfg.optim_wrapper.optimizer == theirs.optim_wrapper.optimizer
    assert "Pretrained" not in cfg.pretty_text and cfg.input_size == (1024, 1024)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.from_random.model.backbone.frozen_stages == -1


@pytest.mark.parametrize(("name", "keep_ratio"), [
    (TEMPLATE, False), ("rtmdet-ins_tiny-640x640", True), ("point_rend_r50-800x1344", True)])
def test_template_as_mmdet_is_built_of_mmdets_parts(name, keep_ratio):
    template = find_template(name)
    cfg = as_mmdet(read_config(template.path / template.config), read_config(find_mmdet_config(PLAIN)))
    network = MODELS.build(cfg.model)
    assert {type(part).__module__.split(".")[0] for part in network.modules()} <= {"mmdet", "mmcv", "mmengine", "torch"}
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert (resize.scale, resize.keep_ratio) == (tuple(template.input_size[::-1]), keep_ratio)


def test_detector_of_ours_is_no_vanilla(tmp_path, capsys):
    assert main.main(["create", "--script", str(tmp_path / "segm.py"), "--vanilla", "--model", "yolact_r50-544x544"]) == 1
    assert "ContractYOLACT is this tool's and unknown to mmdet; leave --vanilla out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
