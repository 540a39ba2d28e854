"""From train.py's flags to the Config of one run: data checked and written, the start found, the user told what will happen."""

import math
import secrets

from instance_segmentation.coco import read_annotations, tiled
from instance_segmentation.report import progress, say, say_data
from instance_segmentation.training.output_folder import begin_in, continue_in, output_folder
from instance_segmentation.training.processes import launcher
from instance_segmentation.training.starting import KEPT, SAME_RUN, find_start

MOST_BATCHES = 4  # times the template's batch, for --batch-size auto: a larger one takes too few steps
ENOUGH = 500  # steps; one recipe on the sample data reached a mask AP of 0.16 in 180 of them, 0.57 in 720


def prepare(work, *, train_ann_files, train_data_roots, val_ann_files, val_data_roots, classes=None, load_weights=None,
            resume_from=None, epochs=None, batch_size=None, base_learning_rate=None, save_checkpoints_to=None,
            tensorboard_dir=None, input_size=None, cfg_options=None, seed=None, num_workers=None, keep_empty=False,
            trust_checkpoint=False, config=None, tile=None, overlap=0.25, **recipe):
    """Check and write the data, and make the Config of a run.

    Args:
        work: The opened work dir.
        train_ann_files, train_data_roots, val_ann_files, val_data_roots: Lists of COCO files and image folders.
        classes: Names to learn, in label order; all categories of the first training file when None.
        load_weights: Checkpoint to start from; tensors of another shape start fresh.
        resume_from: Checkpoint to continue, to the same losses as if it had never stopped; "auto" is latest.pth of the output
            folder, if there is one.
        epochs, batch_size: The template's values when None, those of a run that is continued; a batch is that of one process,
            "auto" is the largest that fits, up to MOST_BATCHES times the template's.
        base_learning_rate: The template's, scaled to the images per update, when None; that of a run that is continued.
        save_checkpoints_to: Output folder, `WORK_DIR/outputs` when None.
        tensorboard_dir: Folder of TensorBoard events, the run's own folder when None.
        input_size: (height, width) in pixels, multiples of 32; remembered by the checkpoint.
        cfg_options: Dotted config key → value.
        seed: Makes a run repeatable on the same machine; one is drawn, and remembered, when None.
        num_workers: Data loading processes.
        keep_empty: Train on images without objects too, as negatives.
        trust_checkpoint: Unpickle arbitrary objects of the given checkpoint.
        config: Another model.py than the work dir's.
        tile, overlap: Train on tiles of this many pixels that overlap by this share; None: on whole images.
        recipe: Arguments of `engine.recipe.set_recipe`: augment, balance_classes, no_flip, normalisation, frozen_stages,
            norm_eval, accumulate, clip_grad, ema, early_stop, save_every_minutes, max_rollbacks, precision, search.

    Returns:
        The Config and the output folder.
    """
    output, basic = output_folder(work, save_checkpoints_to), work.template.hyper_parameters.basic
    training, validation = _read_splits((train_ann_files, train_data_roots), (val_ann_files, val_data_roots), classes, keep_empty)
    device = _describe_device()

    from mmengine.dist import get_world_size

    from instance_segmentation.engine.config import read_config, set_input_size, train_config
    cfg = read_config(config or work.config)
    start = find_start(resume_from, load_weights, output, trust_checkpoint)
    asked = start.kept(dict(epochs=epochs, batch_size=batch_size, base_learning_rate=base_learning_rate, **recipe))
    start.check(training.classes, seed, asked)
    epochs, batch_size, learning_rate = (asked[name] for name in ("epochs", "batch_size", "base_learning_rate"))
    recipe = {name: asked[name] for name in asked if name not in ("epochs", "batch_size", "base_learning_rate")}
    recipe["normalisation"] = recipe.get("normalisation") or start.normalisation
    if input_size := input_size or start.own.get("input_size"):
        set_input_size(cfg, input_size)
    cut = (tile, overlap) if tile else start.resumed and start.own.get("tile")
    settings = dict(
        **_write_splits(training, validation, output, cut, keep_empty), output=output, epochs=epochs or basic.epochs,
        start=start.recipe(cfg), learning_rate=learning_rate,
        usual_rate=None if config else basic.base_learning_rate, usual_batch=None if config else basic.batch_size,
        num_workers=num_workers, seed=_seed(seed, start), tensorboard_dir=tensorboard_dir, overrides=cfg_options,
        processes=get_world_size(), **recipe)
    if batch_size == "auto":
        batch_size = start.resumed and start.own.get("batch_size") or _largest_batch(cfg, settings, basic.batch_size)
    cfg = train_config(cfg, batch_size=batch_size or basic.batch_size, **settings)
    cfg.instseg = _for_checkpoints(cfg, work.template, settings, cut, asked, start)
    start = _make_room(cfg, start, output)
    cfg.update(trust_checkpoint=trust_checkpoint, resume=start.resumed, load_from=str(start.weights) if start.weights else None,
               launcher=launcher() if get_world_size() > 1 else "none")
    _tell(cfg, start, device, settings)
    return cfg, output


def _read_splits(train, val, classes, keep_empty):
    """The Annotations of training, and of validation with the same classes."""
    with progress("checking images") as checked:
        training = read_annotations(*train, classes=classes, keep_empty=keep_empty, progress=checked)
        validation = read_annotations(*val, classes=training.classes, all_classes=False, progress=checked)
    say_data(train=training, val=validation)
    return training, validation


def _write_splits(training, validation, output, cut, keep_empty):
    """Write what the run reads, cut into tiles of (pixels, overlap) if asked; returns arguments of `train_config` about it."""
    output.mkdir(parents=True, exist_ok=True)
    parts = validation
    if cut:
        training, parts = tiled(training, *cut, keep_empty=keep_empty), tiled(validation, *cut)
        say("Tiles", f"{len(training.images)} of {cut[0]} px to train on, {len(parts.images)} for validation")
    return dict(train_json=training.write(output / "train.json", masks="polygon"), val_json=validation.write(output / "val.json"),
                val_polygons=parts.write(output / "val_polygons.json", masks="polygon"), tiles=bool(cut),
                images=len(training.images), classes=training.classes)


def _seed(asked, start):
    """The seed of the run: a resumed one keeps its own."""
    if start.resumed:
        return start.meta.get("seed")
    return secrets.randbelow(2 ** 31) if asked is None else asked


def _largest_batch(cfg, settings, usual):
    from instance_segmentation.engine.batch_size import largest_batch
    from instance_segmentation.engine.config import train_config
    batch_size, basis = largest_batch(train_config(cfg, batch_size=1, **settings), settings["images"], settings["processes"],
                                      most=MOST_BATCHES * usual)
    say("Batch", f"{batch_size}, the largest that fits ({basis})")
    return batch_size


def _for_checkpoints(cfg, template, settings, cut, asked, start):
    """What the run's checkpoints say about it, see `Start.own`."""
    from instance_segmentation.engine.network import identity
    flags = {name: asked[name] for name in KEPT if name != "batch_size" and asked.get(name) not in (None, False)}
    return dict(**identity(cfg, settings["classes"], template.name), start=settings["start"], flags=flags,
                batch_size=cfg.train_dataloader.batch_size, **{name: settings.get(name) for name in SAME_RUN},
                tile=list(cut) if cut else None, run=start.own.get("run") if start.resumed else secrets.token_hex(8))


def _make_room(cfg, start, output):
    """Let no other run's files pass for this one's; returns the Start, whose checkpoint may have moved."""
    if not start.resumed:
        return begin_in(output, start)
    start, has_best = continue_in(output, start)
    cfg.best_is_lost = has_best is False
    return start


def _describe_device():
    """Load mmdet; returns what to tell the user about the device."""
    from instance_segmentation.engine import register
    register("Training")
    import torch
    from mmengine.dist import get_world_size
    several = f"{get_world_size()} processes, each on " if get_world_size() > 1 else ""
    if not torch.cuda.device_count():
        return f"{several}CPU, {torch.get_num_threads()} threads"
    return f"{several}GPU {torch.cuda.get_device_name()}"


def _tell(cfg, start, device, settings):
    """Say how the run will go, and from where."""
    from instance_segmentation.engine.schedule import steps_per_epoch
    recipe_name, optimizer, (height, width) = cfg.instseg.start, cfg.optim_wrapper.optimizer, cfg.input_size
    steps = cfg.train_cfg.max_epochs * steps_per_epoch(cfg, settings["images"], settings["processes"])
    updates = math.ceil(steps / cfg.optim_wrapper.get("accumulative_counts", 1))
    say("Training", f"{cfg.train_cfg.max_epochs} epochs, {steps} steps" + (f", {updates} updates" if updates < steps else "")
        + f", batch {cfg.train_dataloader.batch_size}, {optimizer.type} at {optimizer.lr:.3g}, input {height}×{width}, {device}")
    if updates < ENOUGH and not settings.get("iterations") and not settings.get("search"):
        say("Short", f"{updates} updates of the weights are few: small data usually needs {ENOUGH} or more, so expect more from "
                     f"--epochs {math.ceil(cfg.train_cfg.max_epochs * ENOUGH / updates)} or a smaller --batch-size")
    if start.resumed or not start.weights or recipe_name:
        say("Weights", f"{start.what()}" + (f", with the recipe for that in model.py ({recipe_name})" if recipe_name else ""))
    if recipe_name == "from_backbone":
        pixels = cfg.model.data_preprocessor
        say("Pixels", f"{'RGB' if pixels.bgr_to_rgb else 'BGR'}, mean {pixels.mean}, deviation {pixels.std}; --normalisation for "
            "a backbone that was trained with others")
