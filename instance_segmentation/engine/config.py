"""Edit an mmengine Config, as only this module, `recipe` and `overrides` do: template values + flags → one run's config."""

from pathlib import Path

from mmengine.config import Config

from instance_segmentation.engine.augmentation import innermost
from instance_segmentation.engine.gpu import set_for_gpu
from instance_segmentation.engine.iterations import set_iterations
from instance_segmentation.engine.overrides import apply_overrides
from instance_segmentation.engine.recipe import set_recipe
from instance_segmentation.engine.schedule import set_schedule, steps_per_epoch
from instance_segmentation.errors import TemplateError

# Steps of a pipeline that hold the input's (width, height), and where
SIZED = dict(Resize="scale", FitToWindow="scale", RandomResize="scale", PolygonCrop="crop_size", Pad="size")


def read_config(path):
    """Read a work dir's model.py.

    Raises:
        TemplateError: The file is missing or not a valid mmengine config.
    """
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # the file is the user's Python code: whatever it raises is about the file
        raise TemplateError(f"{path}: cannot be read as an mmengine config: {type(error).__name__}: {error}") from error


def train_config(cfg, *, train_json, val_json, images, classes, output, epochs, batch_size, val_polygons=None, tiles=False,
                 learning_rate=None, usual_rate=None, usual_batch=None, start=None, num_workers=None, seed=None,
                 tensorboard_dir=None, overrides=None, processes=1, iterations=None, **recipe):
    """Fill in one training run; `cfg` itself stays as it is.

    Args:
        cfg: The template's Config.
        train_json, val_json: Normalised annotations.
        images: Number of training images, for schedules counted in iterations.
        classes: Class names in label order.
        output: Folder of checkpoints and logs.
        epochs, batch_size: Numbers of the run.
        val_polygons: The validation annotations as polygons, for the validation loss; `val_json` when None.
        tiles: `train_json` and `val_polygons` are of tiles; detections are merged and scored on the images of `val_json`.
        learning_rate: The rate as it is, whatever the batch.
        usual_rate: The rate when none is asked for; the config's when None.
        usual_batch: The batch that this rate is meant for; the config's when None.
        start: Name of the recipe in the config for where training begins, see `use_start_recipe`; the config's own when None.
        num_workers: Loader processes; the template's number when None.
        seed: Seed of everything random; mmengine picks one when None.
        tensorboard_dir: Folder of TensorBoard events; beside the run's log when None.
        overrides: Dotted key → value, from `--cfg-options`; every key must exist.
        processes: That train together, each with batches of `batch_size`.
        iterations: The schedule in iterations, arguments of `set_iterations`, instead of `epochs`.
        recipe: Arguments of `set_recipe`.

    Raises:
        TemplateError: A key or name is unknown, or two files state different learning rates.
    """
    cfg = Config(cfg.to_dict())
    set_classes(cfg, classes)
    usual_batch = usual_batch or cfg.train_dataloader.batch_size
    cfg.train_dataloader.batch_size = batch_size
    if start:
        usual_rate, usual_batch = None, cfg[start].batch_size
        recipe = use_start_recipe(cfg, start, recipe)
    set_recipe(cfg, **recipe)
    set_rate(cfg, learning_rate, usual_rate, usual_batch, processes)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        set_workers(loader, num_workers)
        loader.worker_init_fn = dict(type="outlive_sigterm")
    innermost(cfg.train_dataloader.dataset).update(ann_file=str(train_json), metainfo=dict(classes=tuple(classes)))
    cfg.val_dataloader.dataset.update(ann_file=str(val_polygons or val_json), metainfo=dict(classes=tuple(classes)))
    cfg.val_evaluator.ann_file = str(val_json)
    if tiles:
        set_tiles(cfg, cfg.train_dataloader, cfg.val_dataloader)
        cfg.val_evaluator.tiles = str(val_polygons)
    cfg.work_dir = str(output)
    if processes > 1:
        share(cfg)
    cfg.randomness = dict(seed=seed)
    set_for_gpu(cfg, num_workers)
    apply_overrides(cfg, overrides or {})
    set_precision(cfg)
    if iterations:
        set_iterations(cfg, processes=processes, **iterations)
    else:
        set_schedule(cfg, epochs, steps_per_epoch(cfg, images, processes))
    for backend in cfg.visualizer.vis_backends:
        if backend.type == "TensorboardVisBackend" and tensorboard_dir:
            backend.save_dir = str(tensorboard_dir)
        elif backend.type == "LocalVisBackend":
            backend.save_dir = str(output)
    for unused in ("test_dataloader", "test_evaluator", "test_cfg"):
        cfg.pop(unused, None)
    return cfg


def set_precision(cfg):
    """Decide, for all processes, what "auto" is on a GPU, and scale the loss where layers are float16."""
    from mmengine.device import get_device
    for hook in cfg.custom_hooks:
        if hook.type == "FastSteps":
            if get_device() == "cuda" and hook.get("precision", "auto") == "auto":
                from instance_segmentation.engine.fast_steps import best_precision
                hook.precision = best_precision("cuda")
            if hook.get("precision") == "float16":
                cfg.optim_wrapper.type = "ScaledOptimWrapper"


def share(cfg):
    """Let several processes train together; on a CPU they have no device of their own."""
    from torch.cuda import device_count
    cfg.model_wrapper_cfg = dict(type="EqualReplicas", forward_sync_buffers=False)
    if not device_count():
        cfg.model_wrapper_cfg.device_ids = None
    cfg.val_dataloader.sampler.round_up = False  # no image is counted twice
    cfg.val_evaluator.collect_dir = str(Path(cfg.work_dir) / ".results")


def set_tiles(cfg, *loaders):
    """Let loaders read tiles (`coco.tiled`), and training leave alone what lies mostly on a crowd: pieces of cut objects."""
    for loader in loaders:
        for step in innermost(loader.dataset).pipeline:
            if step.type == "LoadImageFromFile":
                step.type = "LoadTile"
    for part in dicts_in(cfg.model.train_cfg):
        if "ignore_iof_thr" in part:  # RTMDet's assigner has none: to it crowds are background
            part["ignore_iof_thr"] = 0.5


def use_start_recipe(cfg, name, asked):
    """Change a Config, in place, as its recipe for this kind of start says.

    Args:
        cfg: A Config with dicts such as `from_random` and `from_backbone`. Theirs are `optim_wrapper`, which replaces the
            config's, `batch_size`, which its rate is meant for, and, where there is need, `model`, whose values are merged into
            the config's, and `recipe`, arguments of `set_recipe`.
        name: Name of the dict.
        asked: Arguments of `set_recipe` that the user gave; they go first.

    Returns:
        Arguments of `set_recipe`.
    """
    recipe = cfg[name]
    cfg.optim_wrapper = recipe.optim_wrapper
    cfg.merge_from_dict(dict(model=recipe.get("model", {})))
    usual = {key: value for key, value in recipe.get("recipe", {}).items() if asked.get(key) is None or asked[key] is False}
    return {**asked, **usual}


def set_rate(cfg, asked, usual, usual_batch, processes=1):
    """Set the learning rate: `asked`, or the config's scaled from `usual_batch` to the images per update.

    SGD's rate grows with the batch (Goyal et al. 2017, arXiv 1706.02677), Adam's with its square root (Malladi et al. 2022,
    arXiv 2205.10287).

    Raises:
        TemplateError: The config has another rate than `usual`; a rate is meant for its optimizer, and either may be an edit.
    """
    optimizer = cfg.optim_wrapper.optimizer
    if not asked and usual not in (None, optimizer.lr):
        raise TemplateError(f"model.py: optim_wrapper.optimizer.lr is {optimizer.lr:g} ({optimizer.type}), but "
                            f"base_learning_rate in template.yaml is {usual:g}: write the same in both, or pass "
                            "--base-learning-rate")
    images = cfg.train_dataloader.batch_size * cfg.optim_wrapper.get("accumulative_counts", 1) * processes
    ratio = images / usual_batch
    optimizer.lr = asked or optimizer.lr * (ratio ** 0.5 if "Adam" in optimizer.type else ratio)


def test_loader(cfg, ann_json, classes, num_workers=None):
    """The test dataloader's config over normalised annotations."""
    loader = Config(cfg.to_dict()).test_dataloader
    loader.dataset.update(ann_file=str(ann_json), metainfo=dict(classes=tuple(classes)))
    set_workers(loader, num_workers)
    return loader


def set_workers(loader, num_workers):
    """Set the loader's processes.

    They end with their pass over the data: those that persist belong to an iterator in a reference cycle, and ending them when
    the garbage collector finds it takes PyTorch five seconds each.
    """
    if num_workers is not None:
        loader.num_workers = num_workers
    loader.persistent_workers = False


def set_classes(cfg, classes):
    """Size the heads for the class list."""
    for node in dicts_in(cfg.model):
        if "num_classes" in node:
            node["num_classes"] = len(classes)


def set_input_size(cfg, size_hw):
    """Change the network's input size everywhere: test size, and training sizes in the same proportion.

    Args:
        cfg: A Config, changed in place.
        size_hw: Height and width in pixels, multiples of 32.

    Raises:
        TemplateError: The size is not a positive multiple of 32.
    """
    check_input_size(size_hw)
    before, cfg.input_size = cfg.input_size, tuple(size_hw)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in innermost(loader.dataset).pipeline:
            if step.type in SIZED:
                step[SIZED[step.type]] = (size_hw[1], size_hw[0])
            elif step.type == "RandomChoiceResize":
                keeps_ratio = step.get("resize_type") == "FitToWindow"
                step.scales = in_proportion(step.scales, before, size_hw) if keeps_ratio else train_scales(size_hw)


def drop_resize(cfg):
    """Take resizing and padding out of the test pipeline, in place, for models that do it themselves."""
    dataset = innermost(cfg.test_dataloader.dataset)
    dataset.pipeline = [step for step in dataset.pipeline if step.type not in SIZED]


def check_input_size(size_hw):
    """Raise TemplateError when height and width are not positive multiples of 32."""
    if len(size_hw) != 2 or any(side <= 0 or side % 32 for side in size_hw):
        raise TemplateError(f"--input-size: got {' '.join(map(str, size_hw))}, expected height and width that are "
                            "multiples of 32, for example 256 or 384 512")


def train_scales(size_hw):
    """Training sizes (w, h): multiples of 32 from 0.73 to 1.27 times the test size, with nearly its aspect ratio."""
    heights, widths = ([side for side in range(32, 2 * full, 32) if 0.73 * full <= side <= 1.271 * full]
                       for full in size_hw)
    tolerance = 32 / min(size_hw) + 1e-6
    return [(w, h) for w in widths for h in heights if abs(w / size_hw[1] - h / size_hw[0]) <= tolerance]


def in_proportion(scales, before_hw, size_hw):
    """Training sizes (w, h), as large beside the test size `size_hw` as they were beside `before_hw`."""
    return [(round(w * size_hw[1] / before_hw[1]), round(h * size_hw[0] / before_hw[0])) for w, h in scales]


def dicts_in(node):
    """Every dict inside nested dicts and lists, outermost first."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            yield from dicts_in(value)
