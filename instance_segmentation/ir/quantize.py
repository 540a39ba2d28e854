"""An FP32 IR with INT8 weights and activations by NNCF's post-training quantisation, part by part.

What computes with coordinates (anchors, deltas, proposals, box decoding, NMS) stays in float32: in 255 steps a proposal would be
rounded to two pixels. So does the sorting of RoI features by level, because a level may have no box at all, and NNCF takes no
statistics of empty tensors ("Statistics were not collected"). Of RTMDet-Ins everything behind the network's maps does, the
dynamic convolutions too: their weights are another object's each time.
"""

import contextlib
import io
import logging
import re

import openvino as ov

from instance_segmentation.errors import ExportError, MissingExtraError
from instance_segmentation.ir.calibration import read_input
from instance_segmentation.ir.info import own_facts, update_info
from instance_segmentation.ir.limits import CANDIDATE_SCORES, CELL_SCORES, PROPOSALS
from instance_segmentation.ir.mask_rcnn import CANDIDATE_BOXES
from instance_segmentation.ir.rtmdet_ins import DISTANCES, FEATURES, KERNELS

LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
SAMPLERS = ("ROIAlign", "GridSample")  # features at coordinates
HEAD_ENDS = (*LAYERS, *SAMPLERS, "Constant", "Parameter", "Softmax")
RPN_MAPS = re.compile(r"rpn_(scores|deltas)_\d+$")
CELL_MAPS = re.compile("|".join((*(name.format(r"\d+") for name in (CELL_SCORES, DISTANCES)), KERNELS, FEATURES)))
# RTMDet-Ins: what the names of a part's nodes contain; the first that fits counts
ONE_STAGE_PARTS = ((r"backbone\.stage(\d)", "backbone stage {}"), (r"backbone\.stem", "backbone stem"), (r"\.neck\.", "neck"),
                   (r"bbox_head\.mask_head", "mask features"), (r"bbox_head", "box and kernel branches"))


def import_nncf():
    """NNCF, with its notes off.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("int8", "INT8") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantize(model, info, files, float_names):
    """Quantise weights and activations to INT8.

    Args:
        model: The FP32 ov.Model; it is left as it is.
        info: Its IrInfo.
        files: Calibration images, see `calibration.pick`.
        float_names: Names of the nodes that stay in float32.

    Returns:
        An ov.Model with the rt_info of `model`.
    """
    nncf = import_nncf()
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF's bars, which no log level silences
        # MIXED: asymmetric activations suit the swish of EfficientNet, whose lowest value is -0.28
        return nncf.quantize(model.clone(), nncf.Dataset(files, lambda file: read_input(file, info)), subset_size=len(files),
                             preset=nncf.QuantizationPreset.MIXED, target_device=nncf.TargetDevice.CPU,
                             ignored_scope=nncf.IgnoredScope(names=sorted(float_names)))


def check_quantizable(model, info, xml):
    """Refuse what is not an FP32 export of this package.

    Raises:
        ExportError: It is quantised or FP16 already, or another tool's.
    """
    nodes = {node.get_friendly_name() for node in model.get_ops()}
    named = (PROPOSALS, CANDIDATE_BOXES, CANDIDATE_SCORES)
    precision = (info.origin or {}).get("precision", "FP32")
    if not (nodes.issuperset(named) or KERNELS in nodes):
        raise ExportError(f"--load-weights {xml}: was not exported by this version of export.py, so its parts are unknown; "
                          "give the checkpoint (.pth) instead")
    if len(model.inputs) > 1:
        raise ExportError(f"--load-weights {xml}: has Segmentoly's two inputs; give the checkpoint (.pth) or an export without "
                          "--segmentoly")
    if precision != "FP32":
        raise ExportError(f"--load-weights {xml}: holds {precision} weights already; give the checkpoint (.pth) or an export "
                          "without --fp16")


def coordinate_names(model):
    """Names of the nodes that compute with coordinates or sort RoI features, which must stay in float32."""
    if maps := _cell_maps(model):
        return {node.get_friendly_name() for node in model.get_ops()} - _ancestors(model, *maps)
    coordinates, sorting = set(), set()
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in ("Constant", "Parameter", "Result")]
    for node in nodes:
        kind = node.get_type_name()
        sources = [value.get_node() for value in node.input_values()]
        names = [source.get_friendly_name() for source in sources[:1 if kind in (*SAMPLERS, "Gather") else None]]
        if kind in ("Concat", "Gather") and (sources[0].get_type_name() == "ROIAlign" or names[0] in sorting):
            sorting.add(node.get_friendly_name())
        elif kind not in SAMPLERS and any(name in coordinates or RPN_MAPS.match(name) for name in names):
            coordinates.add(node.get_friendly_name())
    for node in nodes:  # the box head's deltas too, up to its last layer
        if node.get_friendly_name() in set(coordinates):
            coordinates |= _before(node, coordinates)
    return coordinates | sorting


def _before(node, known):
    """Names of the nodes that `node` is computed from, back to `known` ones and the networks' layers."""
    found, stack = set(), [node]
    while stack:
        for value in stack.pop().input_values():
            source, name = value.get_node(), value.get_node().get_friendly_name()
            if name not in known and name not in found and source.get_type_name() not in HEAD_ENDS and not RPN_MAPS.match(name):
                found.add(name)
                stack.append(source)
    return found


def parts(model, float_names):
    """The network's parts, each of which can go back to float32.

    Returns:
        Title → names of the part's nodes. Stages of the backbone, `neck`, `RPN`, `box head`, `mask head`; of RTMDet-Ins those of
        ONE_STAGE_PARTS.
    """
    if _cell_maps(model):
        return _one_stage_parts(model, float_names)
    trunk, boxes = _ancestors(model, PROPOSALS), _ancestors(model, CANDIDATE_BOXES, CANDIDATE_SCORES)
    result, stage = {}, "backbone stem"
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if name in float_names or node.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        if name not in trunk:
            title = "box head" if name in boxes else "mask head"
        else:
            # convolutions that BatchNorm was folded into lost their names: they belong to what lies around them
            number = re.search(r"backbone\.layers?\.?(\d+)\.", name)  # EfficientNet's layers.1, ResNet's layer1
            stage = f"backbone stage {number[1]}" if number else stage
            title = "neck" if ".neck" in name else "RPN" if "rpn_" in name else stage
        result.setdefault(title, set()).add(name)
    return {title: names for title, names in result.items() if layer_names(model, names)}


def _cell_maps(model):
    """Names of the nodes that are an RTMDet-Ins network's maps; none for other networks."""
    return [name for node in model.get_ops() if CELL_MAPS.fullmatch(name := node.get_friendly_name())]


def _one_stage_parts(model, float_names):
    titles, result = {}, {}
    for node in reversed(model.get_ordered_ops()):
        name = node.get_friendly_name()
        # convolutions that BatchNorm was folded into lost their names: they belong to what reads them
        readers = [target.get_node().get_friendly_name() for output in node.outputs() for target in output.get_target_inputs()]
        hits = ((re.search(pattern, name), title) for pattern, title in ONE_STAGE_PARTS)
        titles[name] = next((title.format(*hit.groups()) for hit, title in hits if hit),
                            next((titles[reader] for reader in readers if titles.get(reader)), None))
        if titles[name] and name not in float_names and node.get_type_name() not in ("Constant", "Parameter", "Result"):
            result.setdefault(titles[name], set()).add(name)
    return {title: names for title, names in result.items() if layer_names(model, names)}


def _ancestors(model, *names):
    """Names of the nodes called `names` and of all they are computed from."""
    stack, found = [node for node in model.get_ops() if node.get_friendly_name() in names], set()
    while stack:
        node = stack.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            stack += [value.get_node() for value in node.input_values()]
    return found


def layer_names(model, names):
    """Those of `names` that are convolutions or matrix products, in the graph's order."""
    return [node.get_friendly_name() for node in model.get_ordered_ops()
            if node.get_type_name() in LAYERS and node.get_friendly_name() in names]


def save(model, xml, images, reverted):
    """Write the quantised model; its rt_info tells how it was made."""
    origin = own_facts(model).get("origin") or {}
    update_info(model, origin=dict(origin, precision="INT8", calibration_images=images, float32_parts=list(reverted)))
    ov.save_model(model, xml, compress_to_fp16=False)
