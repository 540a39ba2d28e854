"""What of the configuration in a checkpoint may be built: known layers, and what the user's own model.py names."""

from mmengine.utils import import_modules_from_strings

from instance_segmentation.engine.buildable import LAYERS, UnknownLayer, plain_config
from instance_segmentation.engine.config import Config, dicts_in, read_config
from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.resizing import MODES

# Of model.py: what a checkpoint remembers of it
NETWORK_KEYS = ("model", "input_size", "resize_type", "pad_value", "custom_imports")


def own_config(own, config, trust):
    """The Config of a checkpoint of ours; its errors go on after the file's name.

    Args:
        own: `instseg` of the checkpoint's meta.
        config: The user's model.py, read only where the file asks for more than known layers; None: there is none.
        trust: Import and keep whatever the file names.

    Raises:
        WeightsError: Building it could run code, or it is damaged.
    """
    cfg = {key: own["config"][key] for key in NETWORK_KEYS if own["config"].get(key) is not None}
    cfg["input_size"] = own.get("input_size") or own["config"]["input_size"]
    imports = _imports(cfg)
    if trust:
        _import(imports)
        if not isinstance(cfg.get("model"), dict):
            raise WeightsError("its configuration has no network under 'model'")
        return Config(cfg)
    if cfg.get("resize_type", "standard") not in list(MODES) or type(cfg.get("pad_value", 0)) not in (int, float):
        raise WeightsError(f"its resize_type is none of {', '.join(MODES)}, or its pad_value no number; it is damaged")
    cfg["model"] = _checked(cfg.get("model"), imports, config)
    return Config(cfg)


def _imports(cfg):
    """Names of the Python modules that a config imports."""
    listed = cfg.get("custom_imports") or {}
    modules = listed.get("imports") or [] if isinstance(listed, dict) else None
    modules = [modules] if isinstance(modules, str) else modules
    if not (isinstance(modules, (list, tuple)) and all(isinstance(module, str) for module in modules)):
        raise WeightsError("custom_imports of its configuration is not a dict with a list of modules")
    return list(modules)


def _import(modules):
    try:
        import_modules_from_strings(modules)
    except Exception as error:  # the modules are the user's code
        raise WeightsError(f"its network needs {', '.join(modules)}, which cannot be imported ({type(error).__name__}: {error}). "
                           "Put the folder of the module into PYTHONPATH") from error


def _checked(model, imports, config):
    """The configuration of the network, copied; `imports` are the modules that it needs."""
    try:
        if imports:
            raise UnknownLayer(f"it needs the Python code of {', '.join(imports)} (custom_imports)")
        return plain_config(model)
    except UnknownLayer as problem:
        theirs = read_config(config) if config else {}  # which imports its modules
        if not config or set(imports) - set(_imports(theirs)):
            raise _refusal(problem) from None
    try:
        return plain_config(model, LAYERS | _names_of(theirs))
    except UnknownLayer as problem:
        raise _refusal(problem) from None


def _names_of(cfg):
    """Names that a Config gives to layers, and those that the modules it imports have registered."""
    modules = tuple(name for module in _imports(cfg) for name in (module, f"{module}."))
    named = {part["type"] for part in dicts_in(cfg.get("model", {})) if isinstance(part.get("type"), str)}
    return named | {name for name, layer in _registered() if f"{layer.__module__}.".startswith(modules)} if modules else named


def _registered():
    """Names and classes of all registries that networks are built from."""
    from mmdet.registry import MODELS, TASK_UTILS
    for registry in (MODELS, TASK_UTILS):
        while registry is not None:
            yield from registry.module_dict.items()
            registry = registry.parent


def _refusal(problem):
    return WeightsError(f"refused, because building it could run code: {problem}\nIf it is a network of yours, run eval.py or "
                        "export.py of the work dir whose model.py names that. If you trust whoever made this file, pass "
                        "--trust-checkpoint.")
