"""Build a network from a config and a checkpoint."""

import contextlib

from instance_segmentation import __version__
from instance_segmentation.engine import register
from instance_segmentation.engine.buildable import no_larger_than
from instance_segmentation.engine.checkpoint import classes_of, load_state, read_checkpoint
from instance_segmentation.engine.config import read_config, set_classes
from instance_segmentation.engine.own_config import NETWORK_KEYS, own_config
from instance_segmentation.errors import WeightsError
from instance_segmentation.writing import replacing


def load_network(weights, *, config=None, device="cpu", trust=False):
    """Build the network that a checkpoint belongs to and load its weights.

    Args:
        weights: A .pth file. One of ours knows its own config, classes and input size.
        config: A model.py, for checkpoints that do not. It is code that the user trusts: what it names may be built, too.
        device: Where the network shall live.
        trust: Unpickle arbitrary objects, build and import whatever the file names (`--trust-checkpoint`).

    Returns:
        An mmdet detector in eval mode, with `cfg` (mmengine Config), `dataset_meta["classes"]` (tuple), `input_size`
        (height, width in pixels), `resize_type` (a key of `resizing.MODES`), `pad_value` and `load_report`.

    Raises:
        WeightsError: The file is unsafe, incomplete, or does not fit.
    """
    register("Running a checkpoint")
    checkpoint = read_checkpoint(weights, trust=trust)
    own, state = checkpoint["meta"].get("instseg"), checkpoint["state_dict"]
    if not own and not config:
        raise WeightsError(f"{weights}: not trained by this tool, so its network is unknown; run the work dir's script")
    classes = classes_of(checkpoint)
    if not classes:
        raise WeightsError(f"{weights}: holds no class list, so its outputs have no names; fine-tune it first "
                           "(train.py --load-weights)")
    try:
        model = _build_own(own_config(own, config, trust), classes, state, trust) if own else _build_of(config, classes)
    except WeightsError as error:
        raise WeightsError(f"{weights}: {error}") from error
    model.load_report = load_state(model, state)
    if model.load_report.resized or model.load_report.missing:
        lacking = model.load_report.resized + model.load_report.missing
        raise WeightsError(f"{weights}: does not fit the network: {len(lacking)} tensors are absent or have another shape "
                           f"(first: {lacking[0]}). A checkpoint like this can start a training (train.py --load-weights), "
                           "but cannot be evaluated or exported")
    return model.to(device).eval()


def _build_of(config, classes):
    cfg = read_config(config)
    set_classes(cfg, classes)
    return build_network(cfg, classes)


def _build_own(cfg, classes, state, trust):
    """Build what a checkpoint's own Config describes; errors go on after the file's name."""
    set_classes(cfg, classes)
    try:
        with contextlib.nullcontext() if trust else no_larger_than(state):
            return build_network(cfg, classes)
    except WeightsError:
        raise
    except Exception as error:  # the file says what the layers are built with: whatever they raise is about the file
        raise WeightsError(f"the network of its configuration cannot be built ({type(error).__name__}: {error})") from error


def build_network(cfg, classes):
    """Build the detector of a config in eval mode; its weights are whatever the layers start with."""
    register("Running a checkpoint")
    from mmdet.registry import MODELS
    model = MODELS.build(cfg.model)
    model.eval()
    model.cfg, model.dataset_meta, model.input_size = cfg, dict(classes=tuple(classes)), tuple(cfg.input_size)
    model.resize_type, model.pad_value = cfg.get("resize_type", "standard"), cfg.get("pad_value", 0)
    return model


def identity(cfg, classes, template):
    """What every checkpoint of ours says about its network, under `instseg` in its meta."""
    return dict(template=template, classes=list(classes), input_size=list(cfg.input_size), version=__version__,
                config={key: value for key, value in cfg.to_dict().items() if key in NETWORK_KEYS})


def save_network(model, path, template="", **facts):
    """Write a network as a checkpoint that knows its config, classes and `facts`; whole or not at all."""
    import torch
    own = identity(model.cfg, model.dataset_meta["classes"], template) | facts
    with replacing(path) as temporary:
        torch.save(dict(meta=dict(instseg=own), state_dict=model.state_dict()), temporary)
