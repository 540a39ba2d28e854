"""Edit an mmengine Config, which only this module and `recipe` do: template values + flags → the config of one run."""

import difflib
import inspect
import math

from mmengine.config import Config

from instance_segmentation.engine.recipe import innermost, set_recipe
from instance_segmentation.errors import TemplateError

# Steps of a pipeline that hold the input's (width, height), and where
SIZED = dict(Resize="scale", RandomResize="scale", RandomCrop="crop_size", Pad="size")


def read_config(path):
    """Read a work dir's model.py.

    Raises:
        TemplateError: The file is missing or not a valid mmengine config.
    """
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # the file is the user's Python code: whatever it raises is about the file
        raise TemplateError(f"{path}: cannot be read as an mmengine config: {type(error).__name__}: {error}") from error


def train_config(cfg, *, train_json, val_json, images, classes, output, epochs, batch_size, val_polygons=None,
                 learning_rate=None, usual_rate=None, usual_batch=None, from_random=False, num_workers=None, seed=None,
                 tensorboard_dir=None, overrides=None, **recipe):
    """Fill in one training run; `cfg` itself stays as it is.

    Args:
        cfg: The template's Config.
        train_json, val_json: Normalised annotations.
        images: Number of training images, for schedules counted in iterations.
        classes: Class names in label order.
        output: Folder of checkpoints and logs.
        epochs, batch_size: Numbers of the run.
        val_polygons: The validation annotations as polygons, for the validation loss; `val_json` when None.
        learning_rate: The rate as it is, whatever the batch.
        usual_rate, usual_batch: The rate when none is asked for, and the batch it is meant for, unless the recipe for random
            weights has its own.
        from_random: Use the config's recipe for random weights, if it has one.
        num_workers: Loader processes; the template's number when None.
        seed: Seed of everything random; mmengine picks one when None.
        tensorboard_dir: Folder of TensorBoard events; beside the run's log when None.
        overrides: Dotted key → value, from `--cfg-options`; every key must exist.
        recipe: Arguments of `set_recipe`.
    """
    cfg = Config(cfg.to_dict())
    set_classes(cfg, classes)
    cfg.train_dataloader.batch_size = batch_size
    if from_random and "from_random" in cfg:
        cfg.optim_wrapper = cfg.from_random.optim_wrapper
        usual_rate, usual_batch = cfg.optim_wrapper.optimizer.lr, cfg.from_random.get("batch_size")
    set_recipe(cfg, **recipe)
    set_rate(cfg, learning_rate, usual_rate, usual_batch)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        set_workers(loader, num_workers)
    innermost(cfg.train_dataloader.dataset).update(ann_file=str(train_json), metainfo=dict(classes=tuple(classes)))
    cfg.val_dataloader.dataset.update(ann_file=str(val_polygons or val_json), metainfo=dict(classes=tuple(classes)))
    cfg.val_evaluator.ann_file = str(val_json)
    cfg.work_dir = str(output)
    cfg.randomness = dict(seed=seed)
    apply_overrides(cfg, overrides or {})
    passes = cfg.train_dataloader.dataset.get("times", 1)
    set_schedule(cfg, epochs, iterations=math.ceil(images * passes / cfg.train_dataloader.batch_size))
    for backend in cfg.visualizer.vis_backends:
        if backend.type == "TensorboardVisBackend" and tensorboard_dir:
            backend.save_dir = str(tensorboard_dir)
        elif backend.type == "LocalVisBackend":
            backend.save_dir = str(output)
    for unused in ("test_dataloader", "test_evaluator", "test_cfg"):
        cfg.pop(unused, None)
    return cfg


def set_rate(cfg, asked, usual, usual_batch):
    """Set the learning rate: `asked`, or the usual one scaled to the images per update.

    SGD's rate grows with the batch (Goyal et al. 2017, arXiv 1706.02677), Adam's with its square root (Malladi et al. 2022,
    arXiv 2205.10287).
    """
    optimizer = cfg.optim_wrapper.optimizer
    if asked:
        optimizer.lr = asked
    elif usual:
        ratio = cfg.train_dataloader.batch_size * cfg.optim_wrapper.get("accumulative_counts", 1) / (usual_batch or 1)
        optimizer.lr = usual * (1 if not usual_batch else ratio ** 0.5 if "Adam" in optimizer.type else ratio)


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
    for node in _dicts(cfg.model):
        if "num_classes" in node:
            node["num_classes"] = len(classes)


def set_schedule(cfg, epochs, iterations):
    """Stretch the learning-rate schedule over `epochs` of `iterations` steps; warm-up takes a tenth at most.

    The average of the weights (`--ema`) looks back over a tenth of all steps, too.
    """
    cfg.train_cfg.max_epochs = epochs
    for scheduler in cfg.param_scheduler:
        if scheduler.get("by_epoch", True):
            scheduler.update(end=epochs)
            if "T_max" in scheduler:
                scheduler.T_max = epochs
        else:
            scheduler.end = max(1, min(scheduler.end, epochs * iterations // 10))
    for hook in cfg.custom_hooks:
        if hook.type == "EMAHook":
            hook.momentum = min(0.5, 10 / (epochs * iterations))


def set_input_size(cfg, size_hw):
    """Change the network's input size everywhere: test size, and training sizes in the same proportion.

    Args:
        cfg: A Config, changed in place.
        size_hw: Height and width in pixels, multiples of 32.

    Raises:
        TemplateError: The size is not a positive multiple of 32.
    """
    check_input_size(size_hw)
    cfg.input_size = tuple(size_hw)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in innermost(loader.dataset).pipeline:
            if step.type in SIZED:
                step[SIZED[step.type]] = (size_hw[1], size_hw[0])
            elif step.type == "RandomChoiceResize":
                step.scales = train_scales(size_hw)


def drop_resize(cfg):
    """Take resizing out of the test pipeline, in place, for models that do it themselves."""
    dataset = innermost(cfg.test_dataloader.dataset)
    dataset.pipeline = [step for step in dataset.pipeline if step.type != "Resize"]


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


def apply_overrides(cfg, overrides):
    """Merge dotted keys into the config.

    Raises:
        TemplateError: A key does not exist in the config and is no argument of the class it would go to.
    """
    unknown = [problem for key in overrides if (problem := _unknown_key(cfg, key))]
    if unknown:
        raise TemplateError("--cfg-options: " + "; ".join(unknown))
    try:
        cfg.merge_from_dict(overrides)
    except (TypeError, KeyError) as error:  # mmengine's own words name key and remedy
        raise TemplateError(f"--cfg-options: {error.args[0]}") from error


def _unknown_key(cfg, dotted):
    """Say what is wrong with one dotted key, or None."""
    node, path = cfg, []
    for part in dotted.split("."):
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                return f"'{dotted}': '{'.'.join(path)}' is a list of {len(node)}, got index '{part}'"
            node = node[int(part)]
        elif isinstance(node, (dict, Config)):
            if part not in node and part not in _arguments(node):
                near = difflib.get_close_matches(part, [*node, *_arguments(node)], n=1)
                return f"unknown key '{dotted}'" + (f"; did you mean '{'.'.join([*path, near[0]])}'?" if near else "")
            node = node.get(part, {})
        path.append(part)
    return None


def _arguments(node):
    """Names of the arguments that the class of a config dict takes; empty when it has no known class."""
    import mmdet.registry
    if not isinstance(node.get("type"), str):
        return []
    registries = [value for value in vars(mmdet.registry).values() if isinstance(value, mmdet.registry.Registry)]
    classes = [cls for registry in registries if inspect.isclass(cls := registry.get(node["type"]))]
    return [name for cls in classes for base in cls.__mro__[:-1] for name in inspect.signature(base).parameters]


def _dicts(node):
    """Every dict inside nested dicts and lists, outermost first."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            yield from _dicts(value)
