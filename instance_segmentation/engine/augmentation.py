"""Named augmentations (`--augment`): how the training pipeline of model.py is changed."""

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
        cfg: A Config whose pipeline loads, resizes, flips, and ends in PackDetInputs.
        name: One of AUGMENTATIONS. `light` is the pipeline as it is, `none` resizes to the input size and does no more.

    Raises:
        TemplateError: There is no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise TemplateError(f"--augment: got '{name}', expected one of {', '.join(AUGMENTATIONS)}")
    source = innermost(cfg.train_dataloader.dataset)
    *steps, pack = source.pipeline
    if name == "none":
        steps = [plain(step, cfg.input_size) for step in steps if step.type != "RandomFlip"]
    resize = [step for step in steps if "Resize" in step["type"]]
    mosaic = [dict(type="PolygonMosaic", size_hw=cfg.input_size), *resize]
    several = {"copy-paste": [COPY_PASTE], "mosaic": mosaic, "heavy": [COPY_PASTE, *mosaic, COLOUR]}
    if name in several:
        source.pipeline = steps
        cfg.train_dataloader.dataset.dataset = dict(type="MultiImageMixDataset", dataset=source, pipeline=[*several[name], pack])
    else:
        source.pipeline = [*steps, *([COLOUR] if name == "colour" else []), pack]


def plain(step, input_size):
    """The step without chance: every resize is to the input size (height, width)."""
    return dict(type="Resize", scale=input_size[::-1], keep_ratio=False) if "Resize" in step.type else step


def remove_flips(cfg):
    """Never mirror images, whatever the augmentation."""
    source = innermost(cfg.train_dataloader.dataset)
    source.pipeline = [step for step in source.pipeline if step.type != "RandomFlip"]
