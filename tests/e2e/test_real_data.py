"""Checkpoint and IR agree on real photos: AP within 0.001, and detection by detection. Long; run by hand (nightly)."""

import pytest
import torch

from instance_segmentation import api

from ..component.speaking import speaking_network
from .conftest import TEMPLATE

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
AP = ("bbox/AP", "bbox/AP50", "segm/AP", "segm/AP50")


def agree(work_dir, checkpoint, ann_file, images):
    """Evaluate both, export between; returns the checkpoint's and the IR's metrics, and the Parity."""
    test = dict(test_ann_files=[ann_file], test_data_roots=[images])
    before = api.evaluate(work_dir, load_weights=checkpoint, save_metrics_to=work_dir / "checkpoint.yaml", **test)
    exported = api.export(work_dir, load_weights=checkpoint, save_model_to=work_dir / "export", **test)
    after = api.evaluate(work_dir, load_weights=exported.path, save_metrics_to=work_dir / "ir.yaml", **test)
    for key in AP:
        assert abs(before.metrics[key] - after.metrics[key]) <= 0.001, key
    return before.metrics, after.metrics, exported.parity


def test_random_80_class_network_on_coco_photos(data_root, tmp_path):
    work_dir = api.instantiate(TEMPLATE, tmp_path / "work", load_snapshot=False)
    coco = data_root / "coco_val2017_subset"
    annotations = coco / "annotations" / "instances_val2017.json"
    from instance_segmentation.coco import category_names
    network = speaking_network(category_names(annotations), (480, 480))
    own = dict(classes=list(category_names(annotations)), input_size=[480, 480], template=TEMPLATE,
               config=dict(model=network.cfg.model.to_dict(), input_size=[480, 480]))
    torch.save(dict(state_dict=network.state_dict(), meta=dict(instseg=own)), tmp_path / "random.pth")
    before, _, parity = agree(work_dir, tmp_path / "random.pth", annotations, coco / "images")
    assert len([key for key in before if key.startswith("segm/AP/")]) == 80
    assert parity.real_images == 8 and parity.detections > 400


def test_pennfudan_trained_shortly(data_root, tmp_path):
    work_dir = api.instantiate(TEMPLATE, tmp_path / "work", load_snapshot=False)
    folder = data_root / "pennfudan"
    files = {split: folder / "annotations" / f"instances_{split}.json" for split in ("train", "val")}
    trained = api.train(work_dir, train_ann_files=[files["train"]], train_data_roots=[folder / "images"],
                        val_ann_files=[files["val"]], val_data_roots=[folder / "images"], input_size=(256, 256), epochs=2,
                        batch_size=4, seed=0)
    _, _, parity = agree(work_dir, trained.latest, files["val"], folder / "images")
    assert not parity.unexplained and parity.detections > 0
