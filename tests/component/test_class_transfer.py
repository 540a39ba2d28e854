"""From COCO's classes to the user's: the rows of the heads follow the names."""

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset

from instance_segmentation.engine.checkpoint import classes_of, load_state
from instance_segmentation.engine.class_transfer import carry_over, same_classes
from instance_segmentation.engine.config import read_config, set_classes
from instance_segmentation.engine.network import build_network
from instance_segmentation.templates.catalogue import list_templates

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


PACKAGED = list_templates()


def sized(template, classes):
    """Name → shape of a template's tensors for that many classes."""
    cfg = read_config(template.path / template.config)
    set_classes(cfg, [""] * classes)
    on_cpu = "EfficientNet" in cfg.model.backbone.type  # it reads numbers back, which "meta" tensors do not have
    with torch.device("cpu" if on_cpu else "meta"):
        return {name: tensor.shape for name, tensor in build_network(cfg, [""] * classes).state_dict().items()}


@pytest.mark.parametrize("template", PACKAGED, ids=[template.name for template in PACKAGED])
def test_every_tensor_that_knows_classes_follows_them(template):
    three, four = sized(template, 3), sized(template, 4)
    names = [name for name in three if three[name] != four[name]]
    assert len(names) >= 4
    shapes = [name for name in three if name in names or name.endswith("fcs.0.conv.weight")]
    state, fresh, more = ({name: torch.rand(shape[name]) for name in shapes} for shape in (three, three, four))
    permuted = carry_over(fresh, state, "abc", "cab")
    assert set(permuted) == set(names)
    assert all(not torch.equal(permuted[name], state[name]) for name in names)
    assert all(torch.equal(permuted[name].flatten().sort()[0], state[name].flatten().sort()[0]) for name in names)
    back = carry_over(fresh, {**state, **permuted}, "cab", "abc")
    assert all(torch.equal(back[name], state[name]) for name in names)
    wider = carry_over(more, state, "abc", "bxca")
    assert set(wider) == set(names) and all(wider[name].shape == four[name] for name in names)
    narrower = carry_over(fresh, {**more, **wider}, "bxca", "abc")
    assert all(torch.equal(narrower[name], state[name]) for name in names)


@torch.no_grad()
def test_masks_of_point_rend_follow_the_classes():
    first, second = (speaking_network(names, template="point_rend_r50-800x1344", seed=seed)
                     for seed, names in enumerate((["a", "b", "c"], ["c", "new", "a"])))
    report = load_state(second, first.state_dict(), ["a", "b", "c"], ["c", "new", "a"])
    assert not report.resized and report.known == ["c", "a"]
    cells, fine, coarse = torch.rand(2, 256, 14, 14), torch.rand(2, 256, 9), torch.rand(2, 3, 9)
    theirs, ours = (network.roi_head.mask_head(cells) for network in (first, second))
    torch.testing.assert_close(ours[:, [0, 2]], theirs[:, [2, 0]])
    coarse[:, 1] = 0  # of `b` and of `new`: neither has the other's
    theirs, ours = (network.roi_head.point_head(fine, coarse[:, order])
                    for network, order in ((first, [0, 1, 2]), (second, [2, 1, 0])))
    torch.testing.assert_close(ours[:, [0, 2]], theirs[:, [2, 0]], rtol=1e-4, atol=1e-4)


def test_a_network_whose_heads_are_unknown_starts_fresh_and_says_so():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    report = load_state(model, torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4)).state_dict(), "abcd", "ab")
    assert report.known == [] and report.new == ["a", "b"] and report.resized == ["1.weight", "1.bias"]
