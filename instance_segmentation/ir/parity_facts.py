"""What an exported model says about itself beside what its network is: clients resize and name classes by these words alone."""

import openvino as ov

from instance_segmentation.ir.graph import thresholds_of
from instance_segmentation.ir.info import entries_of, info_of
from instance_segmentation.ir.onnx_session import read_onnx


def wrong_facts(model, exported, channel_order):
    """A sentence for each thing that the file says wrongly.

    Args:
        model: The mmdet detector.
        exported: An ov.Model, or the path of an .onnx; one without metadata, as it is built, says nothing wrong.
        channel_order: What the graph was built for.
    """
    if isinstance(exported, ov.Model):
        entries = entries_of(exported)
        info = entries and info_of(entries, exported.inputs[0].get_partial_shape().get_max_shape()[-2:], "the exported model")
    else:
        _, info = read_onnx(exported)
    thresholds = thresholds_of(model)
    expected = dict(classes=tuple(model.dataset_meta["classes"]), input_size=tuple(model.input_size), channel_order=channel_order,
                    resize_type=model.resize_type, pad_value=model.pad_value, mask_threshold=thresholds.mask,
                    score_threshold=thresholds.score, mean=(), scale=())
    return [f"the exported model says {name} {getattr(info, name)}, but the checkpoint has {value or 'it inside the graph'}"
            for name, value in expected.items() if info and getattr(info, name) != value]
