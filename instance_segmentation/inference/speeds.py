"""Trading accuracy for time when a model is loaded, without another export. Needs no torch.

A checkpoint gets a smaller input. The input of an exported model is fixed, for its anchors are constants; one of this package
gets fewer region proposals instead (RTMDet-Ins has none to leave out), makes no masks below the score threshold, and computes in
bfloat16 where the CPU can.
"""

from dataclasses import dataclass, replace

from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.inference.resizing import up_to_32


@dataclass(frozen=True)
class Speed:
    """How much a speed leaves out.

    Attributes:
        side: Share of the input's sides, of a checkpoint.
        proposals: Share of the export's region proposals, and how many at most.
    """

    side: float
    proposals: tuple


SPEEDS = {"fast": Speed(0.75, (0.5, 100)), "rapid": Speed(0.5, (0.25, 50))}


def speed_of(options):
    """The Speed that LoadOptions ask for, or None.

    Raises:
        WeightsError: It has another name.
    """
    if options.speed is None:
        return None
    if options.speed not in SPEEDS:
        raise WeightsError(f"--speed {options.speed}: expected {' or '.join(SPEEDS)}")
    return SPEEDS[options.speed]


def with_smaller_input(options, size_hw, resize):
    """LoadOptions of a network of any size, whose own input has this height and width and comes about by this resize mode.

    Raises:
        WeightsError: They limit the input themselves.
    """
    speed = speed_of(options)
    if not speed:
        return options
    if options.limits:
        raise WeightsError(f"--speed {options.speed}: chooses the input's size; leave out --fit_max and --fit_window")
    return replace(options, resize=resize, limits=up_to_32([round(speed.side * side) for side in size_hw]))


def lighten(model, options, threshold, path):
    """Change an exported ov.Model, in place, as LoadOptions ask.

    Args:
        model: Of this package.
        options: LoadOptions.
        threshold: Lowest score that will count, a number or one per class.
        path: For the error.

    Returns:
        OpenVINO properties to compile it with.

    Raises:
        WeightsError: The model is of another kind.
    """
    from instance_segmentation.ir.core import core
    from instance_segmentation.ir.limits import Limits, counted, read_limits, set_limits
    share, most = speed_of(options).proposals
    try:
        own = read_limits(model)
    except ExportError as error:
        raise refusal(options, path) from error
    lowest = min(threshold) if isinstance(threshold, tuple) else threshold
    count = min(int(share * own.proposals), most) if counted(model) == "proposals" else own.proposals
    set_limits(model, Limits(count, max(own.score_threshold, lowest)))
    can = options.device == "CPU" and "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"INFERENCE_PRECISION_HINT": "bf16"} if can else {}


def refusal(options, path):
    """The WeightsError for a model that cannot be made faster."""
    return WeightsError(f"--speed {options.speed}: {path} has a fixed input and is no .xml of this tool's Mask R-CNN or "
                        "RTMDet-Ins, so it cannot be made faster here; export it for a smaller input (export.py --input-size), "
                        "or leave the speed out")
