"""Fine-tune a work dir's network on the user's data."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from socket import gethostname

from instance_segmentation import __version__
from instance_segmentation.coco import read_annotations, tiled
from instance_segmentation.errors import DiskFullError, TrainingError
from instance_segmentation.processes import from_first, joined, launch, launcher
from instance_segmentation.report import progress, say
from instance_segmentation.starting import SAME_RUN, find_start
from instance_segmentation.templates.workdir import open_workdir

# How torch says it: CUDA; its CPU allocator; a loader's process that the kernel ended; one whose shared memory is full
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "is killed by signal: Killed", "Bus error")
NETWORK_KEYS = ("model", "input_size", "resize_type", "pad_value")  # of model.py: what a checkpoint remembers of it


@dataclass(frozen=True)
class TrainResult:
    """Where a training left its files; `best` is None when validation never scored."""

    latest: Path
    best: Path | None
    curves: Path
    best_segm_ap: float
    best_epoch: int | None


def train(work_dir, *, gpu_num=None, nproc_per_node=None, **options):
    """Fine-tune a work dir's network, in several processes if asked to.

    Args:
        work_dir: Folder made by `instantiate`.
        gpu_num: GPUs, with a process for each; 0 is CPU. The template's number when None. When torchrun or srun started this
            process as one of several, these train together, and only 0 or not 0 counts here.
        nproc_per_node: Processes that share the CPU; 1 when None.
        options: Of `prepare`.

    Returns:
        A TrainResult.

    Raises:
        DatasetError, TemplateError, WeightsError: Before anything is started.
        TrainingError: Training could not go on, `resume_from` belongs to another run, or a process died.
        KeyboardInterrupt: After Ctrl-C, when latest.pth was saved.
    """
    work = open_workdir(work_dir)
    gpu_num = work.template.gpu_num if gpu_num is None else gpu_num
    number = count_processes(gpu_num, nproc_per_node)
    if number > 1 and launcher() == "none":
        return launch(number, work_dir, options | dict(gpu_num=gpu_num))
    with joined():
        cfg, output = from_first(lambda: prepare(work, **options))
        runner = _run(cfg)
        return from_first(lambda: _finish(runner, work, output))


def count_processes(gpu_num, nproc_per_node=None):
    """How many processes `train` starts; hides the GPUs when they are not wanted, which must happen before CUDA starts.

    Raises:
        TrainingError: The numbers contradict each other.
    """
    if gpu_num == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return nproc_per_node or 1
    if nproc_per_node not in (None, gpu_num):
        raise TrainingError(f"--nproc-per-node {nproc_per_node} is for the CPU (--gpu-num 0); each of --gpu-num {gpu_num} GPUs "
                            "has one process")
    return gpu_num


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
        epochs, batch_size: The template's values when None; a batch is that of one process, "auto" is the largest that fits.
        base_learning_rate: The template's, scaled to the images per update, when None.
        save_checkpoints_to: Output folder, `WORK_DIR/outputs` when None.
        tensorboard_dir: Folder of TensorBoard events, the run's own folder when None.
        input_size: (height, width) in pixels, multiples of 32; remembered by the checkpoint.
        cfg_options: Dotted config key → value.
        seed: Makes a run repeatable on the same machine.
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
    output = Path(save_checkpoints_to or work.path / "outputs").resolve()
    with progress("checking images") as checked:
        training = read_annotations(train_ann_files, train_data_roots, classes=classes, keep_empty=keep_empty,
                                    progress=checked)
        validation = read_annotations(val_ann_files, val_data_roots, classes=training.classes, all_classes=False,
                                      progress=checked)
    say_data(train=training, val=validation)
    device = describe_device()

    from mmengine.dist import get_world_size

    from instance_segmentation.engine.config import read_config, set_input_size, train_config
    cfg, basic = read_config(config or work.config), work.template.hyper_parameters.basic
    start = find_start(resume_from, load_weights, output, trust_checkpoint)
    start.check(training.classes, seed, recipe)
    recipe_name, recipe["normalisation"] = start.recipe(cfg), recipe.get("normalisation") or start.normalisation
    if input_size := input_size or start.own.get("input_size"):
        set_input_size(cfg, input_size)
    if cut := (tile, overlap) if tile else start.resumed and start.own.get("tile"):
        training, parts = tiled(training, *cut, keep_empty=keep_empty), tiled(validation, *cut)
        say("Tiles", f"{len(training.images)} of {cut[0]} px to train on, {len(parts.images)} for validation")
    output.mkdir(parents=True, exist_ok=True)
    settings = dict(
        train_json=training.write(output / "train.json", masks="polygon"), val_json=validation.write(output / "val.json"),
        val_polygons=(parts if cut else validation).write(output / "val_polygons.json", masks="polygon"), tiles=bool(cut),
        images=len(training.images), classes=training.classes, output=output, epochs=epochs or basic.epochs, start=recipe_name,
        learning_rate=base_learning_rate, usual_rate=None if config else basic.base_learning_rate,
        usual_batch=None if config else basic.batch_size,
        num_workers=num_workers, seed=start.meta.get("seed") if start.resumed else seed, tensorboard_dir=tensorboard_dir,
        overrides=cfg_options, processes=get_world_size(), **recipe)
    if batch_size == "auto":
        batch_size = start.resumed and start.own.get("batch_size") or _largest_batch(cfg, settings)
    cfg = train_config(cfg, batch_size=batch_size or basic.batch_size, **settings)
    cfg.instseg = dict(template=work.template.name, classes=list(training.classes), input_size=list(cfg.input_size),
                       start=recipe_name, batch_size=cfg.train_dataloader.batch_size, version=__version__,
                       **{name: recipe.get(name) for name in SAME_RUN},
                       tile=list(cut) if cut else None,
                       config={key: value for key, value in cfg.to_dict().items() if key in NETWORK_KEYS})
    if not start.resumed:
        start = start.set_aside(output)
    cfg.update(trust_checkpoint=trust_checkpoint, resume=start.resumed, load_from=str(start.weights) if start.weights else None,
               launcher=launcher() if get_world_size() > 1 else "none")
    say("Training", f"{cfg.train_cfg.max_epochs} epochs, batch {cfg.train_dataloader.batch_size}, "
        f"{cfg.optim_wrapper.optimizer.type} at {cfg.optim_wrapper.optimizer.lr:.3g}, input "
        f"{cfg.input_size[0]}×{cfg.input_size[1]}, {device}")
    if not start.weights or recipe_name:
        say("Weights", f"{start.what()}" + (f", with the recipe for that in model.py ({recipe_name})" if recipe_name else ""))
    if recipe_name == "from_backbone":
        pixels = cfg.model.data_preprocessor
        say("Pixels", f"{'RGB' if pixels.bgr_to_rgb else 'BGR'}, mean {pixels.mean}, deviation {pixels.std}; --normalisation for "
            "a backbone that was trained with others")
    return cfg, output


def _largest_batch(cfg, settings):
    from instance_segmentation.engine.batch_size import largest_batch
    from instance_segmentation.engine.config import train_config
    batch_size, basis = largest_batch(train_config(cfg, batch_size=1, **settings), settings["images"], settings["processes"])
    say("Batch", f"{batch_size}, the largest that fits ({basis})")
    return batch_size


def _run(cfg):
    from instance_segmentation.engine import register
    register("Training")  # where `prepare` did not run
    from instance_segmentation.engine.runner import FineTuneRunner
    if not Path(cfg.val_evaluator.ann_file).is_file():
        raise TrainingError(f"{cfg.work_dir} on {gethostname()} lacks what the first process wrote there; --save-checkpoints-to "
                            "must name a folder that all machines share")
    try:
        runner = FineTuneRunner.from_cfg(cfg)
        runner.train()
    except (RuntimeError, MemoryError, OSError) as error:
        raise as_training_error(error, cfg.train_dataloader.batch_size, cfg.work_dir) from error
    return runner


def _finish(runner, work, output):
    from instance_segmentation.plots import training_curves
    info = runner.message_hub.runtime_info
    best = output / "best.pth" if "best_epoch" in info and (output / "best.pth").is_file() else None
    training_curves(output / "scalars.json", output / "curves.png")
    latest, cut = output / "latest.pth", runner.cfg.instseg.tile
    tiles = f" --tile {cut[0]} --overlap {cut[1]}" if cut else ""
    say("Weights", f"{latest}" + (f"  (best: {best.name}, epoch {info['best_epoch']}, segm AP {info['best_score']:.3f})"
                                  if best else "  (no best.pth: validation never found an object)"))
    say("Curves", str(output / "curves.png"))
    say("Next", f"python {quote(str(work.path / 'eval.py'))} --load-weights {quote(str(best or latest))} --test-ann-files FILE "
        f"--test-data-roots DIR --save-metrics-to {quote(str(work.path / 'metrics.yaml'))}{tiles}")
    return TrainResult(latest, best, output / "curves.png", info.get("best_score", float("nan")), info.get("best_epoch"))


def say_data(**splits):
    """Print what each split holds, and every note about what was dropped or mended."""
    say("Data", " · ".join(f"{name} {annotations.summary()}" for name, annotations in splits.items()))
    for name, annotations in splits.items():
        for note in annotations.notes:
            say("", f"{name}: {note}")


def describe_device():
    """Load mmdet; returns what to tell the user about the device."""
    from instance_segmentation.engine import register
    register("Training")
    import torch
    from mmengine.dist import get_world_size
    several = f"{get_world_size()} processes, each on " if get_world_size() > 1 else ""
    if not torch.cuda.device_count():
        return f"{several}CPU, {torch.get_num_threads()} threads"
    return f"{several}GPU {torch.cuda.get_device_name()}"


def as_training_error(error, batch_size, output):
    """Say what to do about an exhausted memory or disk; any other error is our bug and keeps its traceback."""
    if is_full_disk(error):
        return DiskFullError(f"{output}: the disk is full ({error}). latest.pth is as it was saved last, and whole; make room "
                             "and continue with --resume-from auto")
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return TrainingError(f"memory is exhausted with --batch-size {batch_size}; pass a smaller one, --batch-size auto, a "
                             "smaller --input-size or fewer --num-workers (their shared memory counts, too), and continue with "
                             "--resume-from auto: latest.pth is whole")
    if "gloo/transport" in str(error) or type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return TrainingError("another process of this training ended, which its own message explains. latest.pth is as it was "
                             "saved last, and whole: continue with --resume-from auto")
    return error


def is_full_disk(error):
    """Whether an error, or the one it was raised from, says that no space is left."""
    return error is not None and (getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
                                  or is_full_disk(error.__cause__ or error.__context__))
