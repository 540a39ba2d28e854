"""`--cfg-options`: any value of a config, checked for misspelt keys, which mmengine would accept silently."""

import difflib
import inspect

from mmengine.config import Config

from instance_segmentation.errors import TemplateError


def apply_overrides(cfg, overrides):
    """Merge dotted keys into the config.

    Raises:
        TemplateError: A key does not exist in the config and is no argument of the class it would go to.
    """
    unknown = [problem for key in _dotted(overrides) if (problem := _unknown_key(cfg, key))]
    if unknown:
        raise TemplateError("--cfg-options: " + "; ".join(unknown))
    try:
        cfg.merge_from_dict(overrides)
    except (TypeError, KeyError) as error:  # mmengine's own words name key and remedy
        raise TemplateError(f"--cfg-options: {error.args[0]}") from error


def _dotted(overrides):
    """All keys, those of dicts that are merged into the config's too; a dict of another class brings its own."""
    for key, value in overrides.items():
        yield key
        if isinstance(value, dict) and not value.keys() & {"type", "_delete_"}:
            yield from _dotted({f"{key}.{inner}": more for inner, more in value.items()})


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
