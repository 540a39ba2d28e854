"""mmdet's own configurations as networks of this tool, and the way back: a template's network as a configuration of mmdet's."""

import math
from inspect import signature
from pathlib import Path

import yaml

from instance_segmentation.engine.config import dicts_in, set_input_size
from instance_segmentation.errors import DownloadError, TemplateError
from instance_segmentation.templates.weights import cache_dir

OURS = dict(FCNMaskHead="BoxMaskHead", CoarseMaskHead="BoxCoarseMaskHead", PointRendRoIHead="LeanPointRendRoIHead")
PLAIN = "mask-rcnn_r50_fpn_1x_coco"  # whose data, schedule and runtime a template's network gets in `as_mmdet`


def fetch_mmdet_weights(config):
    """The checkpoint that mmdet publishes for the file of a configuration, downloaded once to the cache.

    Raises:
        DownloadError: There is none, or it cannot be had whole.
    """
    from torch.hub import download_url_to_file
    metafile = config.with_name("metafile.yml")
    entries = yaml.safe_load(metafile.read_text())["Models"] if metafile.is_file() else []
    urls = [entry["Weights"] for entry in entries if entry["Name"] == config.stem and "Weights" in entry]
    if not urls:
        raise DownloadError(f"{config.stem}: mmdet publishes no weights of it.")
    path = cache_dir() / Path(urls[0]).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:  # the name ends with the first digits of the file's sha256
            download_url_to_file(urls[0], path, hash_prefix=path.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            raise DownloadError(f"{urls[0]}: cannot be downloaded ({error}). If you have the file, put it at {path}") from error
    return path


def adopt(theirs, ours):
    """A template's Config with the network and the optimizer of a configuration of mmdet's.

    Args:
        theirs: mmdet's Config.
        ours: A template's Config, whose loaders, schedule, hooks and evaluator stay; changed in place.

    Returns:
        `ours`. Images are resized to a square about as large as theirs; the optimizer's rate is meant for
        `train_dataloader.batch_size`.
    """
    model = theirs.model
    for part in list(dicts_in(model)):
        if part.get("type") in OURS:
            part["type"] = OURS[part["type"]]
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"]["type"] == "Pretrained":
            del part["init_cfg"]  # would be downloaded, and then be replaced by the checkpoint
    model.get("data_preprocessor", {}).pop("batch_augments", None)  # pads to the size of their training images
    ours.model = model
    ours.optim_wrapper = {**theirs.optim_wrapper, "type": "OptimWrapper"}
    for key in ("loss_scale", "dtype"):  # of mixed precision
        ours.optim_wrapper.pop(key, None)
    ours.train_dataloader.batch_size = theirs.get("auto_scale_lr", {}).get("base_batch_size", theirs.train_dataloader.batch_size)
    if "Adam" in ours.optim_wrapper["optimizer"]["type"]:  # its rate is meant for this network: transformers need a tenth of ours
        ours.from_random = {**ours.from_random, "optim_wrapper": ours.optim_wrapper,
                            "batch_size": ours.train_dataloader.batch_size}
    if model.backbone.get("frozen_stages", 0) > 0:  # of use only when they were trained
        ours.from_random = {**ours.from_random, "model": dict(backbone=dict(frozen_stages=-1, norm_eval=False))}
    if model.type != "MaskRCNN":  # what these were made and measured for
        ours.custom_hooks = [hook for hook in ours.custom_hooks if hook["type"] != "FastSteps"]
    side = 32 * round(math.sqrt(math.prod(test_scale(theirs))) / 32)
    set_input_size(ours, (side, side))
    return ours


def test_scale(cfg):
    """(width, height) that a Config's test images are resized to fit in."""
    steps = cfg.test_dataloader.dataset.pipeline
    return next(step["scale"] for step in steps if step["type"] in ("Resize", "FixScaleResize"))


def as_mmdet(ours, base):
    """A configuration with a template's network in which every part is mmdet's.

    Args:
        ours: The template's Config.
        base: Config of PLAIN, which is changed in place and returned.

    Raises:
        TemplateError: The detector itself is this tool's.
    """
    from mmdet.registry import MODELS
    model = base.model = ours.model
    for part in dicts_in(model):
        kind = MODELS.get(part["type"]) if isinstance(part.get("type"), str) else None
        # "DCN" is mmdet's name, too
        if kind and kind.__module__.startswith("instance_segmentation.") and kind.__name__ == part["type"]:
            if part is model:
                raise TemplateError(f"--vanilla: {kind.__name__} is this tool's and unknown to mmdet; leave --vanilla out, or "
                                    "take one of mmdet's configurations for --model")
            theirs = next(base for base in kind.__mro__ if not base.__module__.startswith("instance_segmentation."))
            for name in signature(kind).parameters.keys() - signature(theirs).parameters.keys():
                part.pop(name, None)
            part["type"] = theirs.__name__
    base.optim_wrapper, base.auto_scale_lr.base_batch_size = ours.from_random["optim_wrapper"], ours.from_random["batch_size"]
    keep_ratio = ours.get("resize_type", "standard") != "standard"
    if keep_ratio:  # images of several sizes
        model.data_preprocessor.update(pad_size_divisor=32, pad_mask=True)
    for loader in (base.train_dataloader, base.val_dataloader, base.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == "Resize":
                step.update(scale=tuple(ours.input_size[::-1]), keep_ratio=keep_ratio)
    return base
