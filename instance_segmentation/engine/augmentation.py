"""Named augmentations (`--augment`): how the training pipeline of model.py is changed."""

import copy

from instance_segmentation.errors import TemplateError

# Channels keep their order: whether a fruit is red or green says much about its class
COLOUR = dict(type="PhotoMetricDistortion", swap_channels=False)
COPY_PASTE = dict(type="PolygonCopyPaste")
AUGMENTATIONS = ("none", "light", "colour", "copy-paste", "mosaic", "heavy")


def innermost(dataset):
    """The dataset inside RepeatDataset and other wrappers."""
    return innermost(dataset.dataset) if "dataset" in dataset else dataset


def set_augmentation(cfg, name):
    """Change the training pipeline of a Config, in place.

    Args:
        cfg: A Config whose pipelines load, resize, and end in PackDetInputs.
        name: One of AUGMENTATIONS. `light` is the training pipeline as it is, `none` is that of validation.

    Raises:
        TemplateError: There is no such augmentation, or it needs polygons and the pipeline has bitmaps.
    """
    check_augmentation(name)
    source = innermost(cfg.train_dataloader.dataset)
    *steps, pack = source.pipeline
    if name == "none":
        steps = copy.deepcopy(cfg.val_dataloader.dataset.pipeline[:-1])
    sizes = [step for step in steps if step.type == "RandomChoiceResize"]
    whole = dict(type="Resize", scale=cfg.input_size[::-1], keep_ratio=False)
    mosaic = [dict(type="PolygonMosaic", size_hw=cfg.input_size), *(sizes or [whole])]
    several = {"copy-paste": [COPY_PASTE], "mosaic": mosaic, "heavy": [COPY_PASTE, *mosaic, COLOUR]}
    if name in several:
        check_polygons(steps, name)
        source.pipeline = steps
        cfg.train_dataloader.dataset.dataset = dict(type="MultiImageMixDataset", dataset=source, pipeline=[*several[name], pack])
    else:
        source.pipeline = [*steps, *([COLOUR] if name == "colour" else []), pack]


def check_augmentation(name):
    """Raise TemplateError when there is no such augmentation."""
    if name not in AUGMENTATIONS:
        raise TemplateError(f"--augment: got '{name}', expected one of {', '.join(AUGMENTATIONS)}")


def check_polygons(steps, name):
    """Raise TemplateError when a pipeline turns masks into bitmaps, which cannot be put into another image."""
    if any(step.type == "LoadAnnotations" and step.get("poly2mask", True) for step in steps):
        raise TemplateError(f"--augment {name}: puts polygons of several images together, and this template's pipeline makes "
                            "bitmaps of them (LoadAnnotations' poly2mask in model.py); choose none, light or colour")


def remove_flips(cfg):
    """Never mirror images, whatever the augmentation."""
    source = innermost(cfg.train_dataloader.dataset)
    source.pipeline = [step for step in source.pipeline if step.type != "RandomFlip"]
