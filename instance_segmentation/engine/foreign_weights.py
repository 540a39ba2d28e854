"""Weights of other tools' Mask R-CNN in mmdet's names and conventions, every tensor accounted for.

What differs between the tools and sits in the tensors is turned into mmdet's here: names, the background's place among the
classes, its rows in box regression and masks, COCO's unused category ids, BatchNorm's epsilon. What does not sit in them
(anchors, RoIAlign, strides, pixels) is in the model.py of the tool's own template. The same everywhere, and so left as it is: the
first layer after pooling reads channels, then rows, then columns; a transposed convolution is [in, out, rows, columns]; pyramid
levels are added by copying each value to 2×2 places, and the fifth is every second cell of the fourth; regression's deviations
are 0.1, 0.1, 0.2, 0.2.
"""

import re
from dataclasses import dataclass

import torch

from instance_segmentation.engine.foreign_names import BENCHMARK, BOX, DETECTRON, DETECTRON2, MASK, TORCHVISION, name_here
from instance_segmentation.errors import WeightsError

EPSILON = 1e-5  # of the BatchNorm of mmdet, Detectron2 and torchvision's later weights
NO_CATEGORY = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # of COCO's ids 1 to 90: torchvision has rows for them
OLD_TORCHVISION = "bf2d0c1e"  # begin of the sha256 of maskrcnn_resnet50_fpn_coco: trained when its epsilon was 0


@dataclass(frozen=True)
class Source:
    """A tool that saves weights.

    Args:
        title: Its name.
        mark: Pattern of a tensor's name that only its files have.
        conventions: Values of `conventions` in the model.py of templates that compute with its weights; None: there is none.
        template: One of these.
        table: Its names, see `foreign_names`.
        background_first: Row 0 of classification, of box regression and of masks is the background. mmdet: the last row of
            classification, none in the others.
        epsilon: Added to BatchNorm's variance.
    """

    title: str
    mark: str
    conventions: tuple
    template: str
    table: list | None
    background_first: bool = False
    epsilon: float = EPSILON


BASELINE = "mask_rcnn_r50_fpn-800x1344"
SOURCES = {  # Detectron's BatchNorm is one scale and shift; maskrcnn-benchmark divides by the deviation as it is
    "detectron": Source("Detectron", "res_conv1_bn_s", ("detectron",), BASELINE, DETECTRON, True, 0.0),
    "maskrcnn-benchmark": Source("maskrcnn-benchmark", r"backbone\.body\.stem\..+", ("detectron",), BASELINE, BENCHMARK,
                                 True, 0.0),
    "detectron2": Source("Detectron2", r"backbone\.bottom_up\..+", ("detectron2",), "mask_rcnn_r50_fpn-detectron2", DETECTRON2),
    "torchvision": Source("torchvision", r"backbone\.body\.conv1\.weight", ("torchvision",), "mask_rcnn_r50_fpn-torchvision",
                          TORCHVISION, True),
    "mmdet": Source("MMDetection 2", r"backbone\.(?:conv1|layers|features|stem)\..+", (None, "detectron2"),
                    "mask_rcnn_r50_fpn-detectron2", None),
}


def find_source(names):
    """The key of SOURCES whose files hold such names, or None."""
    return next((key for key, source in SOURCES.items() if any(re.fullmatch(source.mark, name) for name in names)), None)


def epsilon_of(source, sha256):
    """What a file's BatchNorm adds to the variance."""
    return 0.0 if source.title == "torchvision" and sha256.startswith(OLD_TORCHVISION) else source.epsilon


@dataclass
class Translation:
    """A file's tensors in mmdet's names: `state`, and per tensor of the file what became of it.

    `used` holds pairs of the name there and here, `unused` names there.
    """

    state: dict
    used: list
    unused: list


def translate(source, tensors, epsilon):
    """Rename and rearrange tensors.

    Args:
        source: A Source.
        tensors: Name there → tensor.
        epsilon: What the file's BatchNorm adds to the variance.

    Returns:
        A Translation.
    """
    here = {name: name_here(name, source.table) for name in tensors}
    used = [(name, key) for name, key in here.items() if key]
    state = {key: tensors[name].detach() for name, key in used}
    if source.table is DETECTRON:
        state |= _statistics(state)
    if source.background_first:
        state |= _without_background(state)
    if epsilon != EPSILON:
        state |= _with_our_epsilon(state, epsilon)
    return Translation(state, used, [name for name, key in here.items() if not key])


def _statistics(state):
    """Detectron stores BatchNorm as one scale and shift: mean 0 and variance 1 for each."""
    scales = {name.removesuffix("weight"): scale for name, scale in state.items()
              if re.search(r"(bn\d|downsample\.1)\.weight", name)}
    return {f"{layer}running_{kind}": fill(scale) for layer, scale in scales.items()
            for kind, fill in (("mean", torch.zeros_like), ("var", torch.ones_like))}


def _with_our_epsilon(state, epsilon):
    """Scales of BatchNorm for mmdet's epsilon, so that the layers compute the same."""
    variances = {name.removesuffix("running_var"): value for name, value in state.items() if name.endswith("running_var")}
    return {f"{layer}weight": state[f"{layer}weight"] * ((variance + EPSILON) / (variance + epsilon)).sqrt()
            for layer, variance in variances.items() if f"{layer}weight" in state}


def _without_background(state):
    """The heads' rows as mmdet orders them: the classes, and in classification the background behind them."""
    heads = {}
    for kind in ("weight", "bias"):
        if (scores := state.get(f"{BOX}.fc_cls.{kind}")) is None:
            continue
        rows = class_rows(len(scores))
        heads[f"{BOX}.fc_cls.{kind}"] = scores[[*rows, 0]]
        for name, per_class in ((f"{BOX}.fc_reg.{kind}", 4), (f"{MASK}.conv_logits.{kind}", 1)):
            if name in state and len(state[name]) == per_class * len(scores):  # else its shape will be refused
                heads[name] = state[name].unflatten(0, (-1, per_class))[rows].flatten(0, 1)
    return heads


def class_rows(count):
    """Rows of the classes among `count` whose first is the background; of 91 those that are COCO's categories."""
    return [row for row in range(1, count) if count != 91 or row not in NO_CATEGORY]


def check_complete(translation, own, template):
    """Refuse weights that would fill a network in part, or only a part of which would fit.

    Args:
        translation: A Translation.
        own: Name → tensor of the network.
        template: Its name, for the message.

    Raises:
        WeightsError: Names the tensors.
    """
    state, there = translation.state, {here: name for name, here in translation.used}
    counters = [name for name in own if name.endswith("num_batches_tracked")]  # tools with frozen averages have none
    missing = [name for name in own if name not in state and name not in counters]
    beyond = [there[name] for name in state if name not in own and name not in counters and name in there]
    differing = [f"{there.get(name, name)} is {_shape(state[name])}, {name} {_shape(tensor)}" for name, tensor in own.items()
                 if name in state and state[name].shape != tensor.shape]
    problems = [("lacks what the network needs", missing), ("has layers that the network lacks", beyond),
                ("has tensors of another shape", differing)]
    lines = [f"\n  it {what} ({len(names)}): {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"
             for what, names in problems if names]
    if lines:
        raise WeightsError(f"does not fit the template {template}:{''.join(lines)}\nChoose the template of its tool and depth "
                           "(`instseg ls`). Of other tools, Mask R-CNN with ResNet and FPN is known, with boxes per class and "
                           "without group normalisation.")


def _shape(tensor):
    return "×".join(map(str, tensor.shape)) or "one number"


def check_stated(source, tensors, model):
    """Hold what a file says of pixels and anchors against the network that is to compute with its weights.

    Args:
        source: A Source.
        tensors: Name there → tensor.
        model: The template's network.

    Returns:
        The names of the tensors that were compared.

    Raises:
        WeightsError: They differ.
    """
    pixels = dict(pixel_mean=model.data_preprocessor.mean, pixel_std=model.data_preprocessor.std)
    last_pixel = torch.tensor([0, 0, 1, 1]) if source.conventions == ("detectron",) else 0  # theirs is included
    compared = []
    for name, value in tensors.items():
        if anchor := re.search(r"cell_anchors\.(\d+)$", name):
            expected, value = model.rpn_head.prior_generator.base_anchors[int(anchor[1])], value + last_pixel
        elif name in pixels:
            expected, value = pixels[name].flatten(), value.flatten()
        else:
            continue
        if value.shape != expected.shape or not torch.allclose(value.float(), expected, atol=1e-3):
            raise WeightsError(f"its {name} is {value.tolist()}, the template's network has {expected.tolist()}: it was trained "
                               "with another configuration; write a template with these values (CONTRIBUTING.md)")
        compared.append(name)
    return compared
