"""The two numbers of an exported graph that trade accuracy for time: how many region proposals, and from which score.

They are constants of the graph, so neither checkpoint nor export is needed to change them. Needs no torch.
"""

from typing import NamedTuple

import numpy as np
from openvino import opset13 as op

from instance_segmentation.errors import ExportError

PROPOSALS, CANDIDATE_SCORES = "proposals", "candidate_scores"  # names that `mask_rcnn` gives its nodes


class Limits(NamedTuple):
    """Largest number of proposals that the box head sees, and the score that a detection must exceed."""

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
    count.replace_source_output(op.constant(np.int64(limits.proposals)).output(0))
    for place in scores:
        place.replace_source_output(op.constant(np.float32(limits.score_threshold)).output(0))


def _places(model):
    """The input that holds the number of proposals, and those that hold the score (`mask_rcnn.propose`, `mask_rcnn.detect`)."""
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    suppression = [node for node in nodes.values() if node.get_type_name() == "NonMaxSuppression"]
    if PROPOSALS not in nodes or CANDIDATE_SCORES not in nodes or len(suppression) != 1:
        raise ExportError("the model was not exported by this version of export.py, or is no Mask R-CNN: its proposals and "
                          "scores cannot be found; export the checkpoint again, or measure other networks with instseg "
                          "benchmark")
    best = nodes[PROPOSALS].input_value(1).get_node()  # TopK; its k is the minimum of the wanted and the available
    counts = best.input_value(1).get_node().inputs()
    readers = [target.get_node() for target in nodes[CANDIDATE_SCORES].output(0).get_target_inputs()]
    above = [node.input(1) for node in readers if node.get_type_name() == "Greater"]
    return next(place for place in counts if _constant(place)), [suppression[0].input(4), *above]


def _constant(place):
    """The constant behind an input, None when it is computed; FP16 exports keep a conversion in between."""
    node = place.get_source_output().get_node()
    node = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
    return node if node.get_type_name() == "Constant" else None


def _value(place):
    return _constant(place).data.item()
