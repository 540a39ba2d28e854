"""Carry a class's rows of the heads over to a network that knows the class by the same name, at another place."""

import re

# Names for COCO's classes in other data sets (Pascal VOC, Open Images, Cityscapes); all folded
ALIASES = {
    "human": "person", "people": "person", "pedestrian": "person", "automobile": "car", "bike": "bicycle",
    "motorbike": "motorcycle", "aeroplane": "airplane", "plane": "airplane", "lorry": "truck", "ship": "boat",
    "television": "tv", "tvmonitor": "tv", "sofa": "couch", "table": "diningtable", "plant": "pottedplant",
    "houseplant": "pottedplant", "mobilephone": "cellphone", "phone": "cellphone",
    "doughnut": "donut", "hairdryer": "hairdrier", "cattle": "cow", "fridge": "refrigerator",
}
# Rows per class, and whether the background has rows too, of the layers that know classes; YOLACT's conv_cls once per anchor
LAYERS = dict(fc_cls=(1, True), fc_reg=(4, False), conv_logits=(1, False), conv_cls=(1, True), rtm_cls=(1, False))
HEAD = re.compile(rf"(?:bbox|mask)_head\.(?:\d+\.)?({'|'.join(LAYERS)})\.(?:\d+\.)?(?:weight|bias)$")


def same_classes(source, target):
    """For each target class the index of the source class of that name, or None.

    Case, `_`, `-` and space do not count; a class's own name wins over an alias.
    """
    index = {}
    for number, name in enumerate(source):
        index.setdefault(fold(name), number)
    by_meaning = {ALIASES.get(name, name): number for name, number in reversed(index.items())}
    return [index.get(fold(name), by_meaning.get(ALIASES.get(fold(name), fold(name)))) for name in target]


def fold(name):
    """A class name without case, `_`, `-` and space."""
    return re.sub(r"[\s_-]", "", name.casefold())


def carry_over(fresh, state, source, target):
    """Arrange the heads' rows for another class list.

    Args:
        fresh: Name → tensor of the network that is to be filled.
        state: Name → tensor of the checkpoint.
        source, target: Class names of the checkpoint and of the network, in label order.

    Returns:
        Name → tensor with the shape of `fresh`, for the tensors that have rows per class: rows of a class that the checkpoint
        knows, and of the background, are the checkpoint's, others are those of `fresh`.
    """
    pairs = [(to, origin) for to, origin in enumerate(same_classes(source, target)) if origin is not None]
    heads = {}
    for name, rows in state.items():
        layer = HEAD.search(name)
        if not layer or name not in fresh:
            continue
        size, background = LAYERS[layer[1]]
        anchors, rest = divmod(len(rows), size * (len(source) + background))
        if anchors and not rest and len(fresh[name]) == anchors * size * (len(target) + background):
            old, new = (tensor.detach().cpu().unflatten(0, (anchors, -1, size)) for tensor in (rows, fresh[name].clone()))
            for to, origin in [*pairs, *([(-1, -1)] if background else [])]:
                new[:, to] = old[:, origin]
            heads[name] = new.flatten(0, 2)
    return heads
