"""Reading a model's `model_info` entries as a stranger's text: each value is checked where it enters. Needs no torch."""

import math

from instance_segmentation.errors import WeightsError
from instance_segmentation.json_files import JsonError, parse_json

# what tools write as the first name, because clients add 1 to every label
BACKGROUND = ("background", "__background__", "_background_", "bg", "bkgr")
EMPTY = "_empty_lbl"  # otx_empty_lbl, getitune_empty_lbl
RESIZE_TYPES = ("standard", "fit_to_window", "fit_to_window_letterbox", "crop")
NO_TEXT = "the model's metadata holds what is no UTF-8 text"
TRUE = ("TRUE", "YES", "1")
LONGEST_SIDE = 1 << 15  # of an image, in pixels


def is_background(name):
    """Whether a class name is the one for what is no object."""
    return name.lower() in BACKGROUND or name.lower().endswith(EMPTY)


def wrong(path, key, got, expected):
    """The WeightsError for a value that is not what it should be."""
    return WeightsError(f"{path}: its metadata is damaged: {key} is {got!r:.60}, expected {expected}; export the model again")


def json_object(text, key, path):
    """The dict that a JSON text holds.

    Raises:
        WeightsError: It holds none.
    """
    try:
        value = parse_json(text.encode("utf-8", "surrogatepass"))
    except JsonError as error:
        raise WeightsError(f"{path}: its metadata is damaged: {key} {error}") from None
    if not isinstance(value, dict):
        raise wrong(path, key, value, "a JSON object")
    return value


def is_number(value, low=-math.inf, high=math.inf):
    """Whether this is a finite number from `low` to `high`."""
    return type(value) in (int, float) and -math.inf < value < math.inf and low <= value <= high


def number(entries, key, path, low=0.0, high=1.0):
    """A number from `low` to `high`; 0 when there is no such entry."""
    text = entries.get(key) or "0"
    values = _floats(text, key, path)
    if len(values) != 1 or not is_number(values[0], low, high):
        raise wrong(path, key, text, f"a number from {low:g} to {high:g}")
    return values[0]


def pixel_value(entries, key, path):
    """A whole number from 0 to 255; 0 when there is no such entry."""
    value = number(entries, key, path, 0, 255)
    if value != int(value):
        raise wrong(path, key, entries[key], "a whole number from 0 to 255")
    return int(value)


def per_channel(entries, key, path):
    """Three numbers, which may be written as one; () when there is no such entry."""
    text = entries.get(key, "")
    values = _floats(text, key, path)
    if len(values) not in (0, 1, 3) or not all(map(is_number, values)):
        raise wrong(path, key, text, "three numbers")
    return tuple(values * 3 if len(values) == 1 else values)


def _floats(text, key, path):
    """The numbers of a text, between blanks or commas."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise wrong(path, key, text, "numbers") from None


def mean_and_scale(entries, path):
    """What a client is to subtract from pixels of 0…255 and to divide by, each a tuple per channel; () when nothing.

    getitune writes both for pixels that were brought to 0…1 before (`intensity_mode`).

    Raises:
        WeightsError: They are no numbers, or pixels are wanted that cannot be had by them.
    """
    mean, scale = (per_channel(entries, f"{kind}_values", path) for kind in ("mean", "scale"))
    if 0 in scale:
        raise wrong(path, "scale_values", entries["scale_values"], "three numbers other than 0")
    mode = entries.get("intensity_mode", "")
    if mode in ("", "none"):
        return mean, scale
    if mode != "scale_to_unit" or entries.get("input_dtype", "u8") != "u8":
        raise WeightsError(f"{path}: wants its pixels by intensity_mode '{mode}' of type {entries.get('input_dtype', 'u8')}, "
                           "which Model API can do and this tool cannot; run it with Model API")
    most = number(entries, "intensity_max_value", path, 0, 1e6) or 255.0
    return tuple(most * value for value in mean), tuple(most * value for value in scale or (1.0,) * 3)


def takes_rgb(entries):
    """Whether the input wants RGB where OpenCV reads BGR.

    getitune trains on RGB and means by `reverse_input_channels` that its clients, who read RGB too, shall turn them.
    """
    reverse = entries.get("reverse_input_channels", "").upper() in TRUE
    return not reverse if "getitune_version" in entries else reverse


def class_names(entries, path):
    """Class names in label order, without the one that stands for the background; () when no entry lists them.

    Raises:
        WeightsError: They are no names.
    """
    info = json_object(entries.get("label_info") or "{}", "label_info", path)
    names = info.get("label_names")
    if names:
        names = checked_names(names, "label_info", path)
        return names[1:] if is_background(names[0]) else names
    return tuple(entries.get("labels", "").split()[1:])


def checked_names(names, key, path):
    """A list of names as a tuple.

    Raises:
        WeightsError: It is none.
    """
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise wrong(path, key, names, "a list of class names")
    return tuple(names)


def own_facts(text, path):
    """What this package's own entry says, each of a known field checked; unknown fields are left as they are.

    Args:
        text: The entry, a JSON text.
        path: Of the model, for the error.

    Raises:
        WeightsError: A value is not what it should be.
    """
    facts = json_object(text, "instseg_export", path)
    for key, (fits, expected) in FACTS.items():
        if facts.get(key) is not None and not fits(facts[key]):
            raise wrong(path, key, facts[key], expected)
    limits = facts.get("class_thresholds")
    if limits and len(limits) != len(facts.get("classes") or limits):
        raise wrong(path, "class_thresholds", limits, f"a number for each of {len(facts['classes'])} classes")
    return facts


def _is_size(value):
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int and 0 < side <= LONGEST_SIDE for side in value)


def _is_share(value):
    return is_number(value, 0, 1)


def _is_amount(value):
    return value != value or is_number(value, 0, 1e12)  # NaN is "unknown"


def _is_text(value):
    return isinstance(value, str)


FACTS = {  # field of IrInfo → whether a value fits, and what is expected
    "classes": (lambda value: isinstance(value, list) and bool(value) and all(isinstance(name, str) and name.strip()
                                                                              for name in value), "a list of class names"),
    "input_size": (_is_size, "height and width in pixels"),
    "template": (_is_text, "a name"),
    "channel_order": (lambda value: value in ("BGR", "RGB"), "BGR or RGB"),
    "mask_threshold": (lambda value: _is_share(value) and value > 0, "a number from 0 to 1"),
    "class_thresholds": (lambda value: isinstance(value, list) and all(map(_is_share, value)), "numbers from 0 to 1"),
    "score_threshold": (_is_share, "a number from 0 to 1"),
    "runtime": (lambda value: isinstance(value, dict) and all(isinstance(options, dict) for options in value.values()),
                "OpenVINO properties by performance hint"),
    "size_mp": (_is_amount, "a number from 0"),
    "complexity_gflops": (_is_amount, "a number from 0"),
    "origin": (lambda value: isinstance(value, dict), "a JSON object"),
}
