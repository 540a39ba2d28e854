"""What an exported model says about itself: the rt_info that Model API, OTX and this package read. Needs no torch."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.shapes import is_fixed
from instance_segmentation.ir import metadata
from instance_segmentation.ir.core import core
from instance_segmentation.ir.preprocessing import shape_of, size_of

OWN_KEY = "instseg_export"  # one JSON text; other clients ignore it
ONNX_PREFIX = "model_info "  # Model API looks for `model_info KEY` in an ONNX file's metadata


@dataclass(frozen=True)
class IrInfo:
    """Facts of an exported model.

    Attributes:
        classes: Names in label order, as the user wrote them.
        input_size: Height and width of the input in pixels.
        template: Name of the template, empty for a model of another tool.
        confidence_threshold: Score from which a detection is worth showing. Other clients filter by it, evaluation never does.
        channel_order: `BGR` or `RGB`, what the input expects.
        mask_threshold: Probability from which a pixel belongs to the object.
        class_thresholds: The same for each class, in label order; empty when no images were given to find them.
        score_threshold: Lowest score the graph lets through; 0.0 when unknown.
        runtime: What `instseg plan` found best for the CPU: OpenVINO's performance hint → further properties.
        size_mp, complexity_gflops: Of the network, NaN when unknown.
        origin: What produced it: package version, checkpoint's file name and sha256. Empty for another tool's model.
        resize_type: How images become the input, in Model API's words.
        pad_value: Of the pixels beside the image.
        mean, scale: Numbers per channel that the client is to subtract and to divide by; empty when the graph does it.
    """

    classes: tuple
    input_size: tuple
    template: str = ""
    confidence_threshold: float = 0.0
    channel_order: str = "BGR"
    mask_threshold: float = 0.5
    class_thresholds: tuple = ()
    score_threshold: float = 0.0
    runtime: dict = None
    size_mp: float = float("nan")
    complexity_gflops: float = float("nan")
    origin: dict = None
    resize_type: str = "standard"
    pad_value: int = 0
    mean: tuple = ()
    scale: tuple = ()


def rt_info(info, iou_threshold, model_type="MaskRCNN"):
    """The `model_info` entries: key → text.

    There are no mean and scale values on purpose: they are inside the graph, and Model API would apply them again.
    `reverse_input_channels` stays False for an RGB model too: the graph itself turns the channels.

    Args:
        info: An IrInfo.
        iou_threshold: IoU of NMS.
        model_type: What Model API calls it.
    """
    names = list(info.classes)
    ids = [str(index) for index in range(len(names))]
    own = dict(classes=names, input_size=list(info.input_size), template=info.template,
               channel_order=info.channel_order, mask_threshold=info.mask_threshold,
               class_thresholds=list(info.class_thresholds), score_threshold=info.score_threshold, runtime=info.runtime,
               size_mp=info.size_mp, complexity_gflops=info.complexity_gflops, origin=info.origin)
    return dict(
        model_type=model_type, task_type="instance_segmentation", model_name=info.template,
        # lists are blank-separated, so no name may hold white space; clients add one to every label, hence the dummy
        labels=" ".join(["otx_empty_lbl", *("_".join(name.split()) for name in names)]),
        label_ids=" ".join(["None", *ids]),
        label_info=json.dumps(dict(label_names=names, label_ids=ids, label_groups=[names]), ensure_ascii=False),
        # the best F1's when known: the graph's own score_threshold stays low, because AP needs the unsure detections too
        confidence_threshold=f"{info.confidence_threshold:g}", iou_threshold=f"{iou_threshold:g}",
        resize_type=info.resize_type, pad_value=str(info.pad_value), reverse_input_channels="False",
        **{OWN_KEY: json.dumps(own, ensure_ascii=False)})


def set_rt_info(model, entries):
    """Write `model_info` entries into an ov.Model, in place."""
    for key, value in entries.items():
        model.set_rt_info(value, ["model_info", key])


def own_facts(model):
    """What an ov.Model says under our own key; empty for another tool's."""
    return metadata.own_facts(entries_of(model).get(OWN_KEY, "{}"), "the model")


def update_info(model, **facts):
    """Change what an ov.Model says about itself, in place; `facts` are fields of IrInfo other than its classes."""
    if "confidence_threshold" in facts:
        set_rt_info(model, dict(confidence_threshold=f"{facts.pop('confidence_threshold'):g}"))
    set_rt_info(model, {OWN_KEY: json.dumps({**own_facts(model), **facts}, ensure_ascii=False)})


def ir_files(path):
    """The pair (.xml, .bin) that `path`, one of the two, belongs to.

    Raises:
        WeightsError: One of them is missing.
    """
    path = Path(path)
    pair = path.with_suffix(".xml"), path.with_suffix(".bin")
    for file in pair:
        if not file.is_file():
            raise WeightsError(f"{file}: no such file. An OpenVINO model is a pair, {pair[0].name} (graph) and {pair[1].name} "
                               "(weights), in one folder; copy both, or run export.py again")
    return pair


def read_graph(path):
    """Read any model that OpenVINO reads, whatever tool wrote it.

    Args:
        path: An .xml, the .bin beside it, or an .onnx.

    Returns:
        An ov.Model.

    Raises:
        WeightsError: A file is missing or damaged, or is no exported model.
    """
    path = Path(path)
    if path.suffix not in (".xml", ".bin", ".onnx"):
        raise WeightsError(f"{path}: " + ("is a checkpoint; export it first (instseg export), and give the model.xml"
                                          if path.suffix == ".pth" else "expected a model ending in .xml, .bin or .onnx"))
    if path.suffix == ".onnx" and not path.is_file():
        raise WeightsError(f"{path}: no such file")
    file = path if path.suffix == ".onnx" else ir_files(path)[0]
    try:
        return core().read_model(file)
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter for a message that quotes a damaged name
        raise WeightsError(f"{file}: not a readable OpenVINO model ({str(error).strip().splitlines()[-1]}); export it again"
                           ) from error


def entries_of(model):
    """The `model_info` entries of an ov.Model, also of one read from an .onnx file: key → text; empty when it has none.

    Raises:
        WeightsError: They hold what is no text.
    """
    try:
        return _entries(model)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{metadata.NO_TEXT} ({error.reason}); export the model again") from error


def _entries(model):
    for path, prefix in (["model_info"], ""), (["framework"], ONNX_PREFIX):
        found = model.get_rt_info(path).value if model.has_rt_info(path) else {}
        if isinstance(found, dict) and any(key.startswith(prefix) for key in found):
            return {key[len(prefix):]: str(getattr(text, "value", text)) for key, text in found.items() if key.startswith(prefix)}
    return {}


def read_ir(path, names=()):
    """Read an exported model.

    Args:
        path: The .xml, or the .bin beside it.
        names: Class names for a model that lists none.

    Returns:
        An ov.Model and its IrInfo.

    Raises:
        WeightsError: A file is missing or damaged, or the model lists no classes and `names` is empty.
    """
    model = read_graph(path)
    image = next((shape for shape in map(shape_of, model.inputs) if len(shape) == 4), [-1] * 4)
    return model, info_of(entries_of(model), size_of(image), Path(path).with_suffix(".xml"), names)


def info_of(entries, input_size, path, names=()):
    """The IrInfo of a model's `model_info` entries.

    Args:
        entries: Key → text, as `rt_info` makes them; those of other tools may lack any.
        input_size: Height and width of the graph's input in pixels; lengths that are not fixed are names, None or -1.
        path: The file, for the error.
        names: Class names when no entry lists them.

    Raises:
        WeightsError: No entry lists the classes, and `names` is empty; or an entry is not what it should be.
    """
    known = {field.name for field in fields(IrInfo)}  # a newer version may have written more
    own = metadata.own_facts(entries.get(OWN_KEY, "{}"), path)
    own = {key: value for key, value in own.items() if key in known and value is not None}
    classes = own.pop("classes", ()) or metadata.class_names(entries, path) or names
    if not classes:
        raise WeightsError(f"{path}: lists no classes in its metadata, so its outputs have no names; export it with this "
                           "tool, or name them with --labels")
    own.setdefault("channel_order", "RGB" if metadata.takes_rgb(entries) else "BGR")
    size, limits = tuple(own.pop("input_size", None) or input_size), tuple(own.pop("class_thresholds", ()))
    if all(map(is_fixed, input_size)) and size != tuple(input_size):
        raise metadata.wrong(path, "input_size", list(size), f"the graph's own, {list(input_size)}")
    if limits and len(limits) != len(classes):
        raise metadata.wrong(path, "class_thresholds", list(limits), f"a number for each of {len(classes)} classes")
    resize_type = entries.get("resize_type") or "standard"
    if resize_type not in metadata.RESIZE_TYPES:
        raise metadata.wrong(path, "resize_type", resize_type, f"one of {', '.join(metadata.RESIZE_TYPES)}")
    mean, scale = metadata.mean_and_scale(entries, path)
    return IrInfo(tuple(classes), size, confidence_threshold=metadata.number(entries, "confidence_threshold", path),
                  class_thresholds=limits, resize_type=resize_type, pad_value=metadata.pixel_value(entries, "pad_value", path),
                  mean=mean, scale=scale, **own)
