"""Loading exported models, and what can be said about them from outside. Needs no torch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.contracts import contract_of, is_fixed
from instance_segmentation.inference.detector import Detector
from instance_segmentation.inference.resizing import MODES, Resize
from instance_segmentation.ir.info import read_ir
from instance_segmentation.ir.onnx_session import read_onnx
from instance_segmentation.ir.preprocessing import parse_layout, shape_of, taking_bgr_pixels
from instance_segmentation.ir.session import compile_ir

BACKGROUND = ("background", "__background__", "_background_", "bg", "bkgr", "otx_empty_lbl")


@dataclass(frozen=True)
class LoadOptions:
    """What can be said about a model from outside, as the flags of `instseg demo` do.

    Attributes:
        labels: Text file with one class name per line; the model's own classes when None.
        threshold: Lowest score that counts.
        device: OpenVINO device.
        properties: OpenVINO properties; they replace the defaults of `compile_ir`.
        layout: As `parse_layout` reads it.
        resize: A mode of `resizing.MODES`; the model's own when None.
        size_hw: Height and width of the input for a model that takes any.
        limits: For `fit_max`.
        mean: Of each channel, to be subtracted for a model that does not do it itself.
    """

    labels: Path | None = None
    threshold: float = 0.5
    device: str = "CPU"
    properties: dict | None = None
    layout: str | None = None
    resize: str | None = None
    size_hw: tuple | None = None
    limits: tuple | None = None
    mean: tuple = ()

    @cached_property
    def names(self):
        """The lines of the labels file.

        Raises:
            WeightsError: It cannot be read, or is empty.
        """
        if not self.labels:
            return ()
        try:
            names = tuple(line.strip() for line in Path(self.labels).read_text(encoding="utf-8").splitlines() if line.strip())
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
        WeightsError: It cannot be read or is of no known kind, or its classes have no names.
    """
    options, path = options or LoadOptions(), Path(path)
    if path.suffix == ".onnx":
        return _onnx(path, options)
    if path.suffix in (".xml", ".bin"):
        return _openvino(path, options)
    raise WeightsError(f"-m {path}: expected a model ending in .xml, .bin, .onnx or .pth, or an address with --adapter ovms")


def _openvino(path, options):
    model, info = read_ir(path, options.names)
    inputs, outputs = ({item.any_name: shape_of(item) for item in items} for items in (model.inputs, model.outputs))
    contract = contract_of(inputs, outputs, path)
    image = contract.image_input(inputs)
    layout = parse_layout(options.layout, list(inputs)).get(image)
    model = taking_bgr_pixels(model, image, layout, options.mean or info.mean, info.scale)
    run = compile_ir(model, options.device, options.properties)
    return assemble(run, contract, outputs, info, shape_of(model.input(image))[2:], options, path)


def _onnx(path, options):
    run, info = read_onnx(path, options.names)
    ports = run.session.get_inputs(), run.session.get_outputs()
    inputs, outputs = ({item.name: item.shape for item in items} for items in ports)
    contract = contract_of(inputs, outputs, path)
    return assemble(run, contract, outputs, info, inputs[contract.image_input(inputs)][2:], options, path)


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
    classes = _without_background(options.names, known, options.labels) or info.classes
    size_hw = tuple(size_hw) if all(map(is_fixed, size_hw)) else options.size_hw
    mode = options.resize or info.resize_type
    if mode not in MODES:
        raise WeightsError(f"{path}: resize_type '{mode}' is unknown; expected one of {', '.join(MODES)}")
    if size_hw is None and mode != "fit_max":
        raise WeightsError(f"{path}: takes images of any size; say which with --fit_window HEIGHT WIDTH, or --fit_max")
    return Detector(run, contract, names, tuple(classes), Resize(mode, size_hw, options.limits), info.channel_order == "RGB",
                    max(options.threshold, info.score_threshold), info.mask_threshold)


def _without_background(names, known, path):
    """The lines of a labels file without the one for background, if it has one.

    Raises:
        WeightsError: Their number does not fit the model's number of classes `known`.
    """
    if known is None:
        return names[1:] if names and names[0].lower() in BACKGROUND else names
    if names and len(names) not in (known, known + 1):
        raise WeightsError(f"--labels {path}: {len(names)} names, but the model has {known} classes; expected one line per "
                           "class, and perhaps one for the background before them")
    return names[len(names) - known:] if names else ()
