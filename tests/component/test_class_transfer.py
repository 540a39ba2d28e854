"""From COCO's classes to the user's: the rows of the heads follow the names."""

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset

from instance_segmentation.engine.checkpoint import classes_of, load_state
from instance_segmentation.engine.class_transfer import same_classes

from .speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
COCO = CocoDataset.METAINFO["classes"]


def head_outputs(model, seed=5):
    """Class logits [100, C + 1], box deltas [100, C, 4] and mask logits [100, C, 14, 14] of the same boxes."""
    image = torch.from_numpy(photo_like((128, 160), seed).transpose(2, 0, 1)[None].astype(np.float32))
    features, heads = model.extract_feat(image), model.roi_head
    corners = torch.rand(100, 2, 2, generator=torch.Generator().manual_seed(0)) * 120
    rois = torch.cat([torch.zeros(100, 1), corners.amin(1), corners.amax(1) + 8], 1)
    boxes, masks = heads._bbox_forward(features, rois), heads._mask_forward(features, rois)
    return boxes["cls_score"], boxes["bbox_pred"].unflatten(1, (-1, 4)), masks["mask_preds"]


@torch.no_grad()
def test_person_and_car_are_found_before_the_first_step():
    coco, mine = speaking_network(COCO), speaking_network(["Person", "car", "unicorn"], seed=1)
    fresh = mine.roi_head.bbox_head.fc_cls.weight[2].clone()
    report = load_state(mine, coco.state_dict(), COCO, ["Person", "car", "unicorn"])
    for theirs, ours in zip(head_outputs(coco), head_outputs(mine), strict=True):
        torch.testing.assert_close(ours[:, :2], theirs[:, [COCO.index("person"), COCO.index("car")]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(head_outputs(mine)[0][:, -1], head_outputs(coco)[0][:, -1], rtol=1e-5, atol=1e-5)  # background
    assert torch.equal(mine.roi_head.bbox_head.fc_cls.weight[2], fresh)
    assert not report.resized and not report.missing
    assert {what: which for what, _, which in report.rows()} | {
        "classes whose heads are carried over": "Person ← person, car", "classes that start fresh": "unicorn",
    } == {what: which for what, _, which in report.rows()}


@torch.no_grad()
def test_as_many_classes_in_another_order_keep_their_names():
    first, second = speaking_network(["a", "b"]), speaking_network(["b", "c"], seed=1)
    load_state(second, first.state_dict(), ["a", "b"], ["b", "c"])
    torch.testing.assert_close(head_outputs(second)[0][:, 0], head_outputs(first)[0][:, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("source, target, expected", [
    (["traffic light", "person"], ["Traffic_Light", "PERSON"], [0, 1]),
    (["tv", "potted plant"], ["tvmonitor", "pottedplant", "lamp"], [0, 1, None]),
    (["sofa"], ["couch", "Sofa"], [0, 0]),
    (["person", "pedestrian"], ["pedestrian", "human"], [1, 0]),
], ids=["spelling", "alias", "alias in the checkpoint", "own name first"])
def test_names_that_mean_the_same(source, target, expected):
    assert same_classes(source, target) == expected


def test_a_head_of_81_rows_is_cocos():
    for head in ("bbox_head", "bbox_head.0"):
        assert classes_of(dict(meta={}, state_dict={f"roi_head.{head}.fc_cls.weight": torch.zeros(81, 2)})) == COCO
    assert classes_of(dict(meta={}, state_dict={"roi_head.bbox_head.fc_cls.weight": torch.zeros(4, 2)})) is None
    assert classes_of(dict(meta=dict(CLASSES=("a",)), state_dict={})) == ("a",)
