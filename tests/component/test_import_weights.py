"""Weights of other tools: names, rows, accounting, refusals, and the parts that count pixels as those tools do."""

import math
import os
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from instance_segmentation.api import import_weights
from instance_segmentation.cli import import_weights as command
from instance_segmentation.engine.checkpoint import read_checkpoint
from instance_segmentation.engine.config import read_config, set_classes
from instance_segmentation.engine.conventions import DetectronAnchors, InclusiveRoIExtractor, TorchvisionAnchors
from instance_segmentation.engine.foreign_names import DETECTRON2, name_here
from instance_segmentation.engine.foreign_weights import SOURCES, class_rows, epsilon_of
from instance_segmentation.engine.network import build_network, load_network
from instance_segmentation.errors import WeightsError
from instance_segmentation.templates.catalogue import find_template
from tests.component.foreign_files import EXTRAS, as_there, write
from tests.component.speaking import photo_like, speaking_network
from tests.component.test_network import legacy_snapshot
from tests.component.test_resnet_templates import THIN, TRUNK, gate

pytestmark = pytest.mark.component
NARROW = """
_base_ = "{base}"
input_size = (64, 96)
model = dict(
    backbone=dict(base_channels=8), neck=dict(in_channels=[32, 64, 128, 256], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(in_channels=16, fc_out_channels=24),
        mask_roi_extractor=dict(out_channels=16), mask_head=dict(in_channels=16, conv_out_channels=16)))
"""


@pytest.fixture(scope="module")
def narrow(repo, tmp_path_factory):
    """A function: a tool's template → one for the same network with few channels."""
    def make(tool):
        source = repo / "model_templates/coco-instance-segmentation" / SOURCES[tool].template
        folder = tmp_path_factory.mktemp(tool)
        shutil.copy(source / "template.yaml", folder)
        (folder / "model.py").write_text(NARROW.format(base=source / "model.py"))
        return folder
    return make


def random_state(template, classes=("cat", "dog")):
    """Tensors of a template's network, BatchNorm's too, all random."""
    cfg = read_config(template / "model.py")
    set_classes(cfg, classes)
    torch.manual_seed(0)
    state = build_network(cfg, classes).state_dict()
    return {name: torch.rand_like(tensor) + 0.5 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def affine(state, layer, epsilon):
    """Scale and shift that a BatchNorm comes down to."""
    scale = state[f"{layer}.weight"] / (state[f"{layer}.running_var"] + epsilon).sqrt()
    return scale, state[f"{layer}.bias"] - scale * state[f"{layer}.running_mean"]


@pytest.mark.parametrize("tool, suffix, classes", [
    ("detectron", "pkl", ("cat", "dog")), ("maskrcnn-benchmark", "pth", ("cat", "dog")), ("detectron2", "pkl", None),
    ("detectron2", "pth", ("cat", "dog")), ("torchvision", "pth", None)])
def test_every_tensor_finds_its_place(tool, suffix, classes, narrow, tmp_path):
    template = narrow(tool)
    state = random_state(template, classes or range(80 if tool == "detectron2" else 90))
    file = write(tool, as_there(tool, state), tmp_path / f"weights.{suffix}")
    result = import_weights(file, template, tmp_path / "new" / "ours.pth", classes=classes)
    checkpoint = read_checkpoint(result.path)
    ours, own = checkpoint["state_dict"], checkpoint["meta"]["instseg"]
    norms = [name.removesuffix(".running_var") for name in ours if name.endswith("running_var")]
    assert len(norms) == 53
    if tool == "detectron":  # whose file has scale and shift only
        state |= {f"{norm}.running_{kind}": torch.full_like(state[f"{norm}.weight"], fill)
                  for norm in norms for kind, fill in (("mean", 0.0), ("var", 1.0))}
    for norm in norms:
        for value, expected in zip(affine(ours, norm, 1e-5), affine(state, norm, SOURCES[tool].epsilon), strict=True):
            torch.testing.assert_close(value, expected)
    heads = ("roi_head.bbox_head.fc_cls", "roi_head.bbox_head.fc_reg", "roi_head.mask_head.conv_logits")
    if tool == "torchvision":  # rows of ids that are no categories are gone: the 12th category is id 13
        assert result.classes[11] == "stop sign" and class_rows(91)[11] == 13
        assert torch.equal(ours[f"{heads[0]}.weight"][[11, -1]], state[f"{heads[0]}.weight"][[12, -1]])
        assert torch.equal(ours[f"{heads[1]}.bias"][44:48], state[f"{heads[1]}.bias"][48:52])
        assert torch.equal(ours[f"{heads[2]}.weight"][11], state[f"{heads[2]}.weight"][12])
    same = [name for name in ours if not any(name.startswith(norm + ".") for norm in norms)
            and not (tool == "torchvision" and name.startswith(heads))]
    assert len(same) > 80 and all(torch.equal(ours[name], state[name]) for name in same)
    around, names = EXTRAS[tool]
    assert sorted(result.unused) == sorted([*around, *names]) == sorted(own["imported"]["unused"])
    assert {here for _, here in result.used} <= set(ours)
    assert own["classes"] == list(result.classes) and len(result.classes) == (2 if classes else 80)
    assert own["imported"]["tool"] == SOURCES[tool].title and len(own["imported"]["sha256"]) == 64
    assert load_network(result.path).dataset_meta["classes"] == result.classes


def test_the_published_torchvision_weights_had_no_epsilon():
    assert epsilon_of(SOURCES["torchvision"], "bf2d0c1e" + 56 * "0") == 0.0
    assert epsilon_of(SOURCES["torchvision"], 64 * "0") == epsilon_of(SOURCES["detectron2"], "bf2d0c1e" + 56 * "0") == 1e-5


@pytest.mark.parametrize("coarse, layer, points", [
    ("mask_coarse_head", "coarse_mask_fc", "mask_point_head"), ("mask_head.coarse_head", "fc", "mask_head.point_head")])
def test_detectron2s_point_rend_before_and_after_2021(coarse, layer, points):
    config = find_template("point_rend_r50-800x1344").path / "model.py"
    names = [*(f"{coarse}.{part}" for part in ("reduce_spatial_dim_conv", f"{layer}1", f"{layer}2", "prediction")),
             *(f"{points}.{part}" for part in ("fc1", "fc2", "fc3", "predictor"))]
    here = {name_here(f"roi_heads.{name}.{kind}", DETECTRON2) for name in names for kind in ("weight", "bias")}
    state = build_network(read_config(config), ["a"]).state_dict()
    assert here == {name for name in state if name.startswith(("roi_head.mask_head", "roi_head.point_head"))}


def test_mmdet_2_keeps_its_names_and_classes(narrow, tmp_path):
    template = narrow("detectron2")
    state, config = random_state(template), "model = dict(backbone=dict(type='ResNet', style='{}'))"
    meta = dict(CLASSES=("cat", "dog"), mmdet_version="2.11.0", config=config.format("caffe"))
    torch.save(dict(meta=meta, state_dict={**state, "ema_backbone_conv1_weight": torch.zeros(1)}), tmp_path / "epoch_12.pth")
    result = import_weights(tmp_path / "epoch_12.pth", template, tmp_path / "ours.pth")
    assert (result.source, result.classes) == ("MMDetection 2", ("cat", "dog"))
    assert result.unused == ["ema_backbone_conv1_weight", "meta"]
    assert all(torch.equal(value, state[name]) for name, value in read_checkpoint(result.path)["state_dict"].items())
    torch.save(dict(meta={**meta, "config": config.format("pytorch")}, state_dict=state), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="other.pth: its configuration says style=pytorch, the template .* style=caffe"):
        import_weights(tmp_path / "other.pth", template, tmp_path / "no.pth")
    with pytest.raises(WeightsError, match="MMDetection 2 counts pixels .* use mask_rcnn_r50_fpn-detectron2"):
        import_weights(tmp_path / "epoch_12.pth", narrow("torchvision"), tmp_path / "no.pth")


def test_a_published_snapshot_of_ote_is_mmdet_2s(tmp_path):
    torch.save(legacy_snapshot(), tmp_path / "snapshot.pth")
    result = import_weights(tmp_path / "snapshot.pth", "efficientnet_b2b-mask_rcnn-480x480", tmp_path / "ours.pth")
    assert (len(result.used), result.unused, result.classes[:2]) == (542, ["meta"], ("person", "bicycle"))
    assert ("backbone.features.init_block.conv.conv.weight", "backbone.layers.0.conv.weight") in result.used


def spoilt(tensors, how):
    """Tensors of Detectron2's names that are not what the template needs."""
    if how == "absent":
        return {name: tensor for name, tensor in tensors.items() if name != "backbone.fpn_lateral2.bias"}
    added = {
        "another shape": {"roi_heads.box_head.fc1.weight": torch.zeros(24, 9)},
        "deeper": {"backbone.bottom_up.res4.22.conv1.weight": torch.zeros(1)},
        "other pixels": {"pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)},
        "other anchors": {"proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4)},
    }
    return {**tensors, **added[how]}


@pytest.mark.parametrize("how, message", [
    ("absent", r"lacks what the network needs \(1\): neck.lateral_convs.0.conv.bias"),
    ("another shape", r"another shape \(1\): roi_heads.box_head.fc1.weight is 24×9, roi_head.* 24×784"),
    ("deeper", r"layers that the network lacks \(1\): backbone.bottom_up.res4.22.conv1.weight\nChoose"),
    ("other pixels", r"its pixel_mean is \[123.6.*, the template's network has \[103.5"),
    ("other anchors", r"its proposal_generator.anchor_generator.cell_anchors.0 is"),
])
def test_weights_of_another_network_are_refused(how, message, narrow, tmp_path):
    template = narrow("detectron2")
    file = write("detectron2", spoilt(as_there("detectron2", random_state(template)), how), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"(?s)w.pth: .*{message}"):
        import_weights(file, template, tmp_path / "ours.pth", classes=["cat", "dog"])
    assert not (tmp_path / "ours.pth").exists()


def test_what_the_file_says_of_pixels_and_anchors_is_compared(narrow, tmp_path):
    template = narrow("maskrcnn-benchmark")
    tensors = as_there("maskrcnn-benchmark", random_state(template))
    anchors = DetectronAnchors(strides=[4], ratios=[0.5, 1.0, 2.0], scales=[8], center_offset=0.5).base_anchors[0]
    name = "rpn.anchor_generator.cell_anchors.0"
    tensors[name] = anchors - torch.tensor([0, 0, 1, 1])  # which there include the last pixel
    result = import_weights(write("maskrcnn-benchmark", tensors, tmp_path / "w.pth"), template, tmp_path / "ours.pth",
                            classes=["cat", "dog"])
    assert result.compared == [name] and name not in result.unused


def test_the_command_accounts_for_the_file_and_names_what_is_next(narrow, tmp_path, capsys):
    assert tuple(SOURCES) == command.SOURCES[1:]
    template = narrow("detectron")
    file = write("detectron", as_there("detectron", random_state(template)), tmp_path / "model_final.pkl")
    arguments = [str(file), "--template", str(template), "--classes", "cat,dog", "-o"]
    assert command.main([*arguments, str(tmp_path / "ours.pth")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "model_final.pkl, Detectron" in out and "unused 2 fc1000_b, cfg" in out and "*_momentum 1" in out
    assert "Classes 2: cat, dog" in out and "Next instseg new mask_rcnn_r50_fpn-800x1344 my_work" in out
    mistakes = {("--source", "torchvision"): "--source says torchvision, its names are detectron's",
                ("--template", "mask_rcnn_r50_fpn-torchvision"): "use mask_rcnn_r50_fpn-800x1344, or",
                ("--classes", "cat"): "got 1 names, its classification has 2 classes",
                ("-o", str(tmp_path / "ours.pth")): "exists; choose another name",
                ("-o", "ours.pkl"): "expected the name of a .pth"}
    for mistake, message in mistakes.items():
        assert command.main([*arguments, str(tmp_path / "no.pth"), *mistake]) == 1
        assert message in capsys.readouterr().err


def test_unknown_files_are_refused_in_words(tmp_path):
    torch.save(dict(a=torch.zeros(1)), tmp_path / "a.pth")
    (tmp_path / "b.pkl").write_bytes(b"\x80\x04 cut")
    (tmp_path / "c.pkl").write_bytes(pickle.dumps([np.zeros(2)]))
    for name, message in (("a.pth", "no tool's names are in it"), ("b.pkl", "not a whole pickle"), ("c.pkl", "expected a dict"),
                          ("d.pkl", "no such file")):
        with pytest.raises(WeightsError, match=f"{name}: {message}"):
            import_weights(tmp_path / name, "mask_rcnn_r50_fpn-detectron2", tmp_path / "ours.pth")


class Hostile:
    """Unpickling this creates a folder: a stand-in for any command."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["beside the tensors", "inside an array"])
def test_a_hostile_pickle_is_refused_by_name_and_does_not_run(place, protocol, tmp_path):
    hostile = Hostile(tmp_path / "ran")
    blobs = dict(conv1_w=np.array([hostile], object) if place == "inside an array" else np.zeros(2, np.float32))
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(dict(blobs=blobs, cfg=hostile), protocol))
    with pytest.raises(WeightsError, match=r"evil.pkl: refused, because .* could run code: it asks for (posix|nt)\.mkdir"):
        import_weights(tmp_path / "evil.pkl", "mask_rcnn_r50_fpn-800x1344", tmp_path / "ours.pth")
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "evil.pkl").read_bytes())  # the trap itself works
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile", "torch.load"])
def test_only_the_parts_of_arrays_are_known_to_the_reader(name, tmp_path):
    module, _, function = name.rpartition(".")
    (tmp_path / "x.pkl").write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(WeightsError, match=f"asks for {name}"):
        import_weights(tmp_path / "x.pkl", "mask_rcnn_r50_fpn-800x1344", tmp_path / "ours.pth")


def test_detectrons_anchors_are_the_published_ones():
    """Detectron's lib/modeling/generate_anchors.py lists them in its docstring, for stride 16 and scales 8, 16, 32."""
    published = [[-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200], [-55, -55, 72, 72], [-119, -119, 136, 136],
                 [-247, -247, 264, 264], [-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360]]  # counted from 1
    (ours,) = DetectronAnchors(strides=[16], ratios=[0.5, 1.0, 2.0], scales=[8, 16, 32], center_offset=0.5).base_anchors
    assert (ours + torch.tensor([1, 1, 0, 0])).tolist() == published


def test_torchvisions_strides_follow_the_maps():
    generator = TorchvisionAnchors(strides=[4, 8, 16, 32, 64], ratios=[0.5, 1.0, 2.0], scales=[8])
    levels = generator.grid_priors([(200, 336), (100, 168), (50, 84), (25, 42), (13, 21)], device="cpu")
    assert levels[0][:3].tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    assert levels[4][-2].tolist() == [20 * 64 - 256, 12 * 61 - 256, 20 * 64 + 256, 12 * 61 + 256]
    assert generator.strides[4] == (64, 64)


def roi_align(feature, box, scale, bins):
    """Detectron's RoIAlign of one box with 2×2 samples per bin, as its formula says; box with its last pixel."""
    (x1, y1, x2, y2), (height, width) = (side * scale for side in box), feature.shape
    step_x, step_y = max(x2 - x1, 1.0) / bins, max(y2 - y1, 1.0) / bins

    def sample(y, x):
        if not (-1 <= y <= height and -1 <= x <= width):
            return 0.0
        y, x = max(y, 0.0), max(x, 0.0)
        low_y, low_x = min(int(y), height - 1), min(int(x), width - 1)
        y, x = min(y, height - 1), min(x, width - 1)
        high_y, high_x, rest_y, rest_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1), y - low_y, x - low_x
        upper = feature[low_y, low_x] * (1 - rest_x) + feature[low_y, high_x] * rest_x
        lower = feature[high_y, low_x] * (1 - rest_x) + feature[high_y, high_x] * rest_x
        return upper * (1 - rest_y) + lower * rest_y
    inner = (0.25, 0.75)
    return np.array([[np.mean([sample(y1 + (row + i) * step_y, x1 + (column + j) * step_x) for i in inner for j in inner])
                      for column in range(bins)] for row in range(bins)])


def test_rois_are_read_as_detectron_reads_them():
    random = np.random.default_rng(0)
    corners, sides = random.uniform(0, 200, (40, 2)), np.exp(random.uniform(0, np.log(900), (40, 2)))
    theirs = np.concatenate([corners, np.minimum(corners + sides - 1, [639, 479])], 1)  # with their last pixel
    theirs = theirs[(theirs[:, 2:] >= theirs[:, :2]).all(1)]
    maps = [random.normal(size=(480 // stride, 640 // stride)) for stride in (4, 8, 16, 32)]
    extractor = InclusiveRoIExtractor(dict(type="RoIAlign", output_size=3, sampling_ratio=2, aligned=False), 1, [4, 8, 16, 32])
    rois = torch.tensor(np.concatenate([np.zeros((len(theirs), 1)), theirs + [0, 0, 1, 1]], 1), dtype=torch.float32)
    ours = extractor([torch.tensor(values, dtype=torch.float32)[None, None] for values in maps], rois)
    levels = set()
    for box, found in zip(theirs, ours, strict=True):
        width, height = box[2:] - box[:2] + 1
        level = int(np.clip(math.floor(4 + math.log2(math.sqrt(width * height) / 224 + 1e-6)), 2, 5))
        levels.add(level)
        np.testing.assert_allclose(found[0], roi_align(maps[level - 2], box, 0.5 ** level, 3), atol=1e-4)
    assert levels == {2, 3, 4, 5}


def test_boxes_here_are_detectrons_plus_their_last_pixel():
    """Decoding with Detectron's bbox_transform, which counts the last pixel, gives our boxes less one at their ends."""
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
    random = np.random.default_rng(0)
    first, deltas = random.uniform(0, 300, (50, 2)), random.normal(0, 1.5, (50, 4))
    theirs = np.concatenate([first, first + random.uniform(4, 200, (50, 2))], 1)
    dx, dy, dw, dh = (deltas / [10, 10, 5, 5]).T
    sizes, expected = theirs[:, 2:] - theirs[:, :2] + 1, np.empty_like(theirs)
    for axis, shift, growth in ((0, dx, dw), (1, dy, dh)):
        centre = theirs[:, axis] + 0.5 * sizes[:, axis] + shift * sizes[:, axis]
        size = np.exp(np.minimum(growth, np.log(1000 / 16))) * sizes[:, axis]
        expected[:, axis], expected[:, axis + 2] = centre - 0.5 * size, centre + 0.5 * size - 1
    coder = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    ours = coder.decode(torch.tensor(theirs + [0, 0, 1, 1]), torch.tensor(deltas)).numpy()
    np.testing.assert_allclose(ours - [0, 0, 1, 1], expected, atol=1e-4)


@pytest.mark.parametrize("tool", ["detectron", pytest.param("torchvision", marks=pytest.mark.nightly)])
def test_the_exported_graph_counts_as_the_tool_does(tool, tmp_path):
    model = speaking_network(("a", "b"), (160, 192), SOURCES[tool].template, **THIN, **TRUNK)
    cv2.imwrite(str(tmp_path / "photo.png"), photo_like((160, 192), 3))
    result = gate(model, image_files=[tmp_path / "photo.png"])
    result.check()
    assert result.detections > 10
