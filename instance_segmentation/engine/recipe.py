"""What train.py's flags about the recipe change in a run's config; each is an mmengine config line."""

from instance_segmentation.engine.augmentation import remove_flips, set_augmentation
from instance_segmentation.errors import TemplateError

# What published backbones were trained with: mean and standard deviation per channel, in RGB order when bgr_to_rgb
NORMALISATIONS = dict(
    imagenet=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),  # torchvision, timm, mmpretrain
    caffe=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    inception=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True),
    unit=dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], bgr_to_rgb=True))


def set_recipe(cfg, *, augment=None, balance_classes=False, no_flip=False, normalisation=None, frozen_stages=None,
               norm_eval=None, accumulate=None, clip_grad=None, ema=False, early_stop=None, save_every_minutes=None,
               max_rollbacks=None, precision=None, search=None):
    """Change a Config in place; what is None or False stays as the template has it.

    Args:
        cfg: The Config of a run whose optimizer is chosen.
        augment: One of `augmentation.AUGMENTATIONS`.
        balance_classes: Show images of rare classes more often.
        no_flip: Never mirror images, for classes that differ by side.
        normalisation: What the backbone's pixels are: a key of NORMALISATIONS, or a dict like one of its values.
        frozen_stages: Stages of the backbone, from the input on, that are not trained.
        norm_eval: Normalise with the backbone's stored statistics, not with each batch's, which are noise in small batches.
        accumulate: Batches whose gradients are added up for one update.
        clip_grad: Largest norm of all gradients together.
        ema: Validate and keep the running average of the weights.
        early_stop: Epochs without a better segm AP after which training ends.
        save_every_minutes: Time between two savings of latest.pth within an epoch; 0 is every step.
        max_rollbacks: How often a run may go back to its last good state after a bad step.
        precision: Of the layers in training, see `FastSteps`.
        search: Arguments of `StopUnpromising`, for a trial of a search.

    Raises:
        TemplateError: The backbone has fewer stages, or a name is unknown.
    """
    if augment:
        set_augmentation(cfg, augment)
    if balance_classes:
        cfg.train_dataloader.sampler.type = "BalancedSampler"
    if no_flip:
        remove_flips(cfg)
    if normalisation:
        set_normalisation(cfg.model.data_preprocessor, normalisation)
    if frozen_stages is not None:
        freeze(cfg.model.backbone, frozen_stages)
    if norm_eval is not None:
        cfg.model.backbone.norm_eval = norm_eval
    if accumulate:
        cfg.optim_wrapper.accumulative_counts = accumulate
    if clip_grad is not None:
        cfg.optim_wrapper.clip_grad = dict(max_norm=clip_grad)
    if ema:
        cfg.custom_hooks.append(dict(type="EMAHook", update_buffers=True))  # set_schedule gives it its momentum
    if early_stop:
        cfg.custom_hooks.append(dict(type="StopWithoutProgress", patience=early_stop))
    if save_every_minutes is not None:
        cfg.default_hooks.checkpoint.every_minutes = save_every_minutes
    if max_rollbacks is not None:
        cfg.train_cfg.max_rollbacks = max_rollbacks
    if precision:
        for hook in cfg.custom_hooks:
            if hook["type"] == "FastSteps":  # set_recipe itself adds plain dicts
                hook["precision"] = precision
    if search:
        cfg.custom_hooks.append(dict(type="StopUnpromising", **search))


def freeze(backbone, stages):
    """Freeze the first stages of a backbone: weights and normalisation."""
    most = max(backbone.out_indices) + (backbone.type != "CSPNeXt")  # which counts its stem as a stage there, but not here
    if stages > most:
        raise TemplateError(f"--frozen-stages: got {stages}, {backbone.type} has {most} that this network uses")
    backbone.frozen_stages = stages


def set_normalisation(preprocessor, asked):
    """Make the data preprocessor, and so the exported graph, normalise pixels as the backbone was trained."""
    if isinstance(asked, str) and asked not in NORMALISATIONS:
        raise TemplateError(f"--normalisation: got '{asked}', expected one of {', '.join(NORMALISATIONS)}; others by "
                            "--cfg-options \"model.data_preprocessor={'mean': …, 'std': …, 'bgr_to_rgb': …}\"")
    preprocessor.update(NORMALISATIONS[asked] if isinstance(asked, str) else asked)
