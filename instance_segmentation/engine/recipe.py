"""What train.py's flags about the recipe change in a run's config; each is an mmengine config line."""

from instance_segmentation.errors import TemplateError


def set_recipe(cfg, *, accumulate=None, clip_grad=None, frozen_stages=None, ema=False, early_stop=None, no_flip=False,
               save_every_minutes=None, max_rollbacks=None, precision=None):
    """Change a Config in place; what is None or False stays as the template has it.

    Args:
        cfg: The Config of a run whose optimizer is chosen.
        accumulate: Batches whose gradients are added up for one update.
        clip_grad: Largest norm of all gradients together.
        frozen_stages: Stages of the backbone, from the input on, that are not trained.
        ema: Validate and keep the running average of the weights.
        early_stop: Epochs without a better segm AP after which training ends.
        no_flip: Never mirror images, for classes that differ by side.
        save_every_minutes: Time between two savings of latest.pth within an epoch; 0 is every step.
        max_rollbacks: How often a run may go back to its last good state after a bad step.
        precision: Of the layers in training, see `FastSteps`.

    Raises:
        TemplateError: The backbone has fewer stages.
    """
    if accumulate:
        cfg.optim_wrapper.accumulative_counts = accumulate
    if clip_grad is not None:
        cfg.optim_wrapper.clip_grad = dict(max_norm=clip_grad)
    if frozen_stages is not None:
        freeze(cfg.model.backbone, frozen_stages)
    if ema:
        cfg.custom_hooks.append(dict(type="EMAHook", update_buffers=True))  # set_schedule gives it its momentum
    if early_stop:
        cfg.custom_hooks.append(dict(type="StopWithoutProgress", patience=early_stop))
    if no_flip:
        dataset = innermost(cfg.train_dataloader.dataset)
        dataset.pipeline = [step for step in dataset.pipeline if step.type != "RandomFlip"]
    if save_every_minutes is not None:
        cfg.default_hooks.checkpoint.every_minutes = save_every_minutes
    if max_rollbacks is not None:
        cfg.train_cfg.max_rollbacks = max_rollbacks
    if precision:
        for hook in cfg.custom_hooks:
            if hook.type == "FastSteps":
                hook.precision = precision


def freeze(backbone, stages):
    """Freeze the first stages of a backbone: weights and normalisation."""
    most = max(backbone.out_indices) + 1
    if stages > most:
        raise TemplateError(f"--frozen-stages: got {stages}, {backbone.type} has {most} that this network uses")
    backbone.frozen_stages = stages


def innermost(dataset):
    """The dataset inside RepeatDataset and other wrappers."""
    return innermost(dataset.dataset) if "dataset" in dataset else dataset
