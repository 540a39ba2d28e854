"""The two numbers of an exported graph that trade accuracy for time: how many boxes, and from which score.

They are constants of the graph, so neither checkpoint nor export is needed to change them. Needs no torch.
"""

from typing import NamedTuple

import numpy as np
from openvino import opset13 as op

from instance_segmentation.errors import ExportError

# names that `mask_rcnn` and, for each level, `rtmdet_ins` give to their nodes
PROPOSALS, CANDIDATE_SCORES, CELL_SCORES = "proposals", "candidate_scores", "cell_scores_{}"


class Limits(NamedTuple):
    """Largest number of boxes that the second half works on (`counted`), and the score that a detection must exceed."""

    proposals: int
    score_threshold: float


def read_limits(model):
    """The Limits of an exported ov.Model.

    Raises:
        ExportError: The graph is not one of this package.
    """
    count, scores = _places(model)
    return Limits(_value(count), round(_value(scores[0]), 6))  # float32 holds 0.05 as 0.05000000074


def set_limits(model, limits):
    """Change the Limits of an exported ov.Model, in place: as if it had been exported with other values in `test_cfg`."""
    count, scores = _places(model)
    for place, value in [(count, limits.proposals), *((place, limits.score_threshold) for place in scores)]:
        constant = op.constant(np.full(place.get_shape(), value, place.get_element_type().to_dtype()))
        place.replace_source_output(constant.output(0))


def counted(model):
    """What `Limits.proposals` counts: `proposals`, or of RTMDet-Ins, which has none, `detections`, each of which gets a mask."""
    return "proposals" if any(node.get_friendly_name() == PROPOSALS for node in model.get_ops()) else "detections"


def _places(model):
    """The input that holds the number of boxes, and those that hold the score (`mask_rcnn` and `rtmdet_ins`)."""
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    scores = [nodes[name] for name in nodes if name == CANDIDATE_SCORES or name.startswith(CELL_SCORES.format(""))]
    suppression = [node for node in nodes.values() if node.get_type_name() == "NonMaxSuppression"]
    if not scores or len(suppression) != 1:
        raise ExportError("the model was not exported by this version of export.py, or is a YOLACT: its proposals and scores "
                          "cannot be found; export the checkpoint again, or measure other networks with instseg benchmark")
    above = [node.input(1) for values in scores for node in _readers(values) if node.get_type_name() == "Greater"]
    return _count(nodes, suppression[0]), [suppression[0].input(4), *above]


def _count(nodes, suppression):
    if PROPOSALS not in nodes:
        (columns,) = _readers(suppression)
        (first,) = _readers(columns)  # rows 0…count
        return first.input(2)
    best = nodes[PROPOSALS].input_value(1).get_node()  # TopK; its k is the minimum of the wanted and the available
    return next(place for place in best.input_value(1).get_node().inputs() if _constant(place))


def _readers(node):
    return [target.get_node() for target in node.output(0).get_target_inputs()]


def _constant(place):
    """The constant behind an input, None when it is computed; FP16 exports keep a conversion in between."""
    node = place.get_source_output().get_node()
    node = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
    return node if node.get_type_name() == "Constant" else None


def _value(place):
    return _constant(place).data.item()
