"""Loading exported models, and what can be said about them from outside. Needs no torch."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.contracts import contract_of
from instance_segmentation.inference.detector import Detector
from instance_segmentation.inference.resizing import MODES, Resize, up_to_32
from instance_segmentation.inference.shapes import is_fixed
from instance_segmentation.inference.speeds import lighten, refusal
from instance_segmentation.ir.core import core
from instance_segmentation.ir.info import entries_of, info_of, read_graph
from instance_segmentation.ir.metadata import is_background
from instance_segmentation.ir.onnx_session import open_onnx
from instance_segmentation.ir.preprocessing import (
    image_layout,
    name_ports,
    parse_layout,
    shape_of,
    size_of,
    taking_bgr_pixels,
)
from instance_segmentation.ir.session import compile_ir, precision_properties, throughput_properties

# whether limits of (height, width), or for fit_max of (shorter, longer side), agree with a fixed input
FITS = {"standard": tuple.__eq__, "fit_to_window": lambda window, size: window[0] <= size[0] and window[1] <= size[1],
        "fit_max": lambda limits, size: True}  # there every image is checked
# ImageNet's mean (b, g, r): nothing after normalisation, as mmdet pads; a network with squeeze-and-excitation, which looks at
# the mean of its whole input, finds nothing beside large black bars
GREY = (104, 117, 124)
THRESHOLD = 0.5  # the Open Model Zoo demo's


@dataclass(frozen=True)
class LoadOptions:
    """What can be said about a model from outside, as the flags of `instseg demo` do.

    Attributes:
        labels: Text file with one class name per line, which goes before the model's own; or a tuple of names, for models
            that know none.
        threshold: Lowest score that counts; the model's own when None (`default_threshold`).
        device: OpenVINO device.
        properties: OpenVINO properties; they replace the defaults of `compile_ir`.
        layout: As `parse_layout` reads it.
        resize: A mode of `resizing.MODES`; the model's own when None.
        limits: Of the resized image, as in `resizing.Resize`; with `standard` the height and width of the input. A model that
            takes any size gets its input's from them.
        mean: (b, g, r) to be subtracted for a model that does not do it itself; replaces a checkpoint's own.
        rgb: The model takes RGB pixels, whatever it says about itself.
        extension: Library with OpenVINO operations that the model needs.
        speed: `fast` or `rapid`, which give accuracy for time (`speeds`); None for all that the model can.
        precision: In which OpenVINO computes, as of `session.precision_properties`; None for float32, or what `instseg plan`
            found best.
    """

    labels: Path | tuple | None = None
    threshold: float | None = None
    device: str = "CPU"
    properties: dict | None = None
    layout: str | None = None
    resize: str | None = None
    limits: tuple | None = None
    mean: tuple = ()
    rgb: bool = False
    extension: Path | None = None
    speed: str | None = None
    precision: str | None = None

    @classmethod
    def of_flags(cls, *, fit_max=None, fit_window=None, size=None, mean_pixel=(), prob_threshold=None, **others):
        """What the flags of the commands mean; `others` are attributes."""
        mode, limits = next(((mode, limits) for mode, limits in zip(("fit_max", "fit_to_window", "standard"),
                                                                    (fit_max, fit_window, size), strict=True) if limits),
                            (None, None))
        return cls(resize=mode, limits=limits and tuple(limits), mean=tuple(mean_pixel), threshold=prob_threshold, **others)

    @cached_property
    def names(self):
        """The lines of the labels file.

        Raises:
            WeightsError: It cannot be read, or is empty.
        """
        if not self.labels or isinstance(self.labels, tuple):
            return self.labels or ()
        try:
            names = tuple(line.strip() for line in Path(self.labels).read_text(encoding="utf-8-sig").splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise WeightsError(f"--labels {self.labels}: cannot be read as a text file ({error})") from error
        if not names:
            raise WeightsError(f"--labels {self.labels}: is empty; expected one class name per line")
        return names


def load_exported(path, options=None):
    """Load an exported model, any of `contracts.CONTRACTS`.

    Args:
        path: .xml or .bin for OpenVINO, .onnx for ONNX Runtime.
        options: LoadOptions.

    Raises:
        WeightsError: It cannot be read or is of no known kind, or its classes have no names; or an option does not fit it.
    """
    options, path = options or LoadOptions(), Path(path)
    if path.suffix == ".onnx":
        return _onnx(path, options)
    if path.suffix in (".xml", ".bin"):
        return _openvino(path, options)
    foreign = "; `instseg import-weights` makes a .pth of another tool's .pkl" if path.suffix == ".pkl" else ""
    raise WeightsError(f"{path}: expected a model ending in .xml, .bin, .onnx or .pth, or an address with --adapter "
                       f"ovms{foreign}")


def _openvino(path, options):
    if options.extension:
        _add_extension(options.extension)
    model = name_ports(read_graph(path))
    entries, xml = entries_of(model), path.with_suffix(".xml")
    inputs, outputs = ({item.any_name: shape_of(item) for item in items} for items in (model.inputs, model.outputs))
    contract, image, layout, info = _facts(inputs, outputs, entries, options, xml)
    properties = precision_properties(options.precision) | (options.properties or {})
    if options.speed:
        threshold = default_threshold(info)[0] if options.threshold is None else options.threshold
        properties = lighten(model, options, threshold, path) | properties
    model = taking_bgr_pixels(model, image, layout, options.mean or info.mean, info.scale)
    run = compile_ir(model, options.device, properties)
    detector = assemble(run, contract, outputs, info, shape_of(model.input(image))[2:], options, path)
    if "PERFORMANCE_HINT" in properties:  # the caller knows what comes
        return detector
    return replace(detector, compile_many=partial(compile_ir, model, options.device, throughput_properties() | properties))


def _facts(inputs, outputs, entries, options, path):
    """What a model is: its Contract, the name and the layout of its image input, and its IrInfo.

    Raises:
        WeightsError: It is of no known kind, its metadata is damaged, its classes have no names, or a flag does not fit it.
    """
    contract = contract_of(inputs, outputs, path, entries)
    image = contract.image_input(inputs)
    layout = image_layout(inputs[image], parse_layout(options.layout, list(inputs)).get(image), options.layout)
    info = info_of(entries, size_of(inputs[image], layout), path, options.names)
    if options.mean and info.origin:
        raise WeightsError(f"--mean_pixel: {path} subtracts its mean itself, as all models of this tool do; leave the flag out")
    return contract, image, layout, info


def _add_extension(library):
    """Teach OpenVINO the operations of a library."""
    try:
        core().add_extension(str(library))
    except RuntimeError as error:
        raise WeightsError(f"--cpu_extension {library}: cannot be loaded: {str(error).strip().splitlines()[-1]}") from error


def _onnx(path, options):
    if options.speed:
        raise refusal(options, path)
    if options.precision not in (None, "f32"):
        raise WeightsError(f"--precision {options.precision}: is for OpenVINO models, but {path} runs in ONNX Runtime; leave the "
                           "flag out, or give the .xml")
    run, entries = open_onnx(path)
    inputs, outputs = run.shapes
    contract, image, layout, info = _facts(inputs, outputs, entries, options, path)
    run.take_bgr_pixels(image, layout, options.mean or info.mean, info.scale)
    return assemble(run, contract, outputs, info, size_of(inputs[image], layout), options, path)


def assemble(run, contract, outputs, info, size_hw, options, path):
    """A Detector of what was found out about a model.

    Args:
        run, contract: As in Detector.
        outputs: Output name → shape; lengths that are no positive number are not fixed.
        info: The model's IrInfo.
        size_hw: Height and width of its input, likewise.
        options: LoadOptions.
        path: For errors.
    """
    names = contract.names(outputs)
    known = len(info.classes) if info.classes is not options.names else contract.class_count(outputs)
    knows = isinstance(options.labels, tuple) and info.classes is not options.labels
    classes = info.classes if knows else _without_background(options.names, known, options.labels) or info.classes
    mode = options.resize or info.resize_type
    if mode not in MODES:
        raise WeightsError(f"{path}: resize_type '{mode}' is unknown; expected one of {', '.join(MODES)}")
    size_hw = _input_size(size_hw, mode, options.limits, path)
    if options.threshold is not None and not 0 <= options.threshold <= 1:  # NaN neither: nothing would be found, without a word
        raise WeightsError(f"the score threshold is {options.threshold:g}, expected a number from 0 to 1")
    threshold, origin = default_threshold(info) if options.threshold is None else (options.threshold, "as given")
    resize = Resize(mode, size_hw, options.limits, GREY if options.limits else info.pad_value)
    return Detector(run, contract, names, tuple(classes), resize, options.rgb or info.channel_order == "RGB", threshold,
                    info.mask_threshold, info, origin)


def _input_size(size_hw, mode, limits, path):
    """Height and width of the input, for a model of any size from the limits; None when each image has its own.

    Raises:
        WeightsError: The model is of any size and there are no limits, or its size is fixed at another one.
    """
    if all(map(is_fixed, size_hw)):
        if limits and not FITS[mode](limits, tuple(size_hw)):
            flag, own = "--size" if mode == "standard" else "--fit_window", f"{size_hw[0]} {size_hw[1]}"
            raise WeightsError(f"{flag} {limits[0]} {limits[1]}: the input of {path} is fixed at {own} (height, width) and keeps "
                               f"that; give {flag} {own}, or export the network for another size (export.py --input-size)")
        return tuple(size_hw)
    if mode == "fit_max":
        return None
    if not limits:
        raise WeightsError(f"{path}: takes images of any size; say which with --fit_window HEIGHT WIDTH, or --fit_max")
    return up_to_32(limits)


def default_threshold(info):
    """Lowest score that counts unless the user says otherwise, and who chose it, in words.

    Args:
        info: The model's IrInfo.

    Returns:
        A number or one per class in label order, and a text.
    """
    if info.class_thresholds:
        return info.class_thresholds, "the model's own for each class"
    # without images export.py stores what the graph lets through: nobody has chosen that for showing
    if info.confidence_threshold > info.score_threshold:
        return info.confidence_threshold, "the model's own"
    return THRESHOLD, "the default, for the model has none"


def _without_background(names, known, path):
    """The lines of a labels file without the one for background, if it has one.

    Raises:
        WeightsError: Their number does not fit the model's number of classes `known`.
    """
    if known is None:
        return names[1:] if names and is_background(names[0]) else names
    if names and len(names) not in (known, known + 1):
        source = "--dataset" if isinstance(path, tuple) else f"--labels {path}"
        raise WeightsError(f"{source}: {len(names)} names, but the model has {known} classes; expected one line per "
                           "class, and perhaps one for the background before them")
    return names[len(names) - known:] if names else ()
