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
# Rows per class (None: all that a class has lie together), and whether the background has rows too, of the layers that know
# classes; YOLACT's conv_cls has them once per anchor
LAYERS = dict(fc_cls=(1, True), fc_reg=(4, False), conv_logits=(1, False), conv_cls=(1, True), rtm_cls=(1, False),
              fc_logits=(None, False), segm_conv=(1, False))
HEAD = re.compile(rf"(?:bbox|mask|point)_head\.(?:\d+\.|segm_branch\.)?({'|'.join(LAYERS)})\.(?:\d+\.)?(?:weight|bias)$")
# PointRend's layers that also read the coarse mask of every class, as their last columns
READERS = re.compile(r"(.*point_head)\.(?:fcs\.(\d+)\.conv|fc_logits)\.weight$")


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
        Name → tensor with the shape of `fresh`, for the tensors that have rows or columns per class: those of a class that the
        checkpoint knows, and of the background, are the checkpoint's, others are those of `fresh`.
    """
    import torch
    pairs = [(to, origin) for to, origin in enumerate(same_classes(source, target)) if origin is not None]
    heads, counts = {}, (len(source), len(target))
    for name, old in state.items():
        if name not in fresh or not (HEAD.search(name) or READERS.match(name)):
            continue
        new = fresh[name].detach().cpu().clone()
        rows, columns = _rows(name, old, new, pairs, counts), _columns(name, state, new, pairs, counts)
        if rows is None or columns is None or old.shape[2:] != new.shape[2:]:
            continue
        to, origin = torch.tensor(rows, dtype=torch.long).reshape(-1, 2).T
        to_column, from_column = torch.tensor(columns, dtype=torch.long).reshape(-1, 2).T
        old = old.detach().cpu().to(new.dtype)
        if old.dim() == 1:
            new[to] = old[origin]
        else:
            new[to[:, None], to_column] = old[origin[:, None], from_column]
        heads[name] = new
    return heads


def _rows(name, old, new, pairs, counts):
    """Pairs (row of `new`, row of `old`) that mean the same; None where the layer is built in another way."""
    layer = HEAD.search(name)
    if not layer:
        return _as_they_are(old, new, 0)
    size, background = LAYERS[layer[1]]
    size = size or max(1, len(old) // counts[0]) if old.dim() else 1
    sources, targets = (count + background for count in counts)
    anchors, rest = divmod(len(old), size * sources) if old.dim() else (0, 0)
    if not anchors or rest or len(new) != anchors * size * targets:
        return None
    known = [*pairs, *([(targets - 1, sources - 1)] if background else [])]
    return [((anchor * targets + to) * size + row, (anchor * sources + origin) * size + row)
            for anchor in range(anchors) for to, origin in known for row in range(size)]


def _columns(name, state, new, pairs, counts):
    """As `_rows`, for the inputs of a layer."""
    old, layer = state[name], READERS.match(name)
    if old.dim() < 2 or new.dim() < 2:
        return [] if old.dim() == new.dim() else None
    first = state.get(f"{layer[1]}.fcs.0.conv.weight") if layer else None
    # The first one reads the classes' masks, the others when they have that many columns more than the first has rows
    if first is None or not first.dim() or not (layer[2] == "0" or old.shape[1] == len(first) + counts[0]):
        return _as_they_are(old, new, 1)
    common = old.shape[1] - counts[0]
    if common < 0 or new.shape[1] - counts[1] != common:
        return None
    return [*((index, index) for index in range(common)), *((common + to, common + origin) for to, origin in pairs)]


def _as_they_are(old, new, axis):
    size = new.shape[axis]
    return [(index, index) for index in range(size)] if old.dim() > axis and old.shape[axis] == size else None
