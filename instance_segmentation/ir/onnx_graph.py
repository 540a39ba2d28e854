"""A network as ONNX of standard operators, which plain ONNX Runtime runs: torch code, traced."""

import io
import warnings

import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d

from instance_segmentation.errors import MissingExtraError
from instance_segmentation.inference.contracts import MASK_RCNN
from instance_segmentation.ir import mask_rcnn
from instance_segmentation.ir.graph import family_of
from instance_segmentation.ir.info import ONNX_PREFIX
from instance_segmentation.ir.onnx_mask_rcnn import OnnxMaskRCNN
from instance_segmentation.ir.operators import ONNX
from instance_segmentation.ir.support import check

OPSET, DEFORM_CONV_OPSET = 17, 19  # the latter is the first that has DeformConv


def build_onnx(model, channel_order="BGR"):
    """Trace a detector.

    Args:
        model: mmdet detector in eval mode with `input_size` (h, w).
        channel_order: Order of the channels that clients will send, `BGR` or `RGB`.

    Returns:
        An onnx.ModelProto without metadata; input and outputs as of the family's `build_ir`. The parity gate's intermediate
        results keep their names (`stage_names`), but are no outputs.

    Raises:
        ExportError: A part of the network has no counterpart here.
        MissingExtraError: The onnx package is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "ONNX") from error
    check(model, "ONNX")
    family = family_of(model)
    network = (OnnxMaskRCNN if family is mask_rcnn else family.Whole)(model, channel_order == "RGB")
    outputs = list(family.CONTRACT.outputs)
    proto = onnx.load_from_string(trace(network.eval(), _example(model), [*outputs, *family.stage_names(model)],
                                        outputs if family.CONTRACT is MASK_RCNN else ()))
    del proto.graph.output[len(outputs):]
    onnx.checker.check_model(proto)
    return proto


def trace(network, image, names, growing=()):
    """Trace a layer.

    Args:
        network: nn.Module in eval mode.
        image: Its input, by which it is traced, [1, 3, H, W].
        names: Of its outputs.
        growing: Those with one row per detection.

    Returns:
        The bytes of an ONNX model whose input is `image`.
    """
    deformable = any(isinstance(layer, (DeformConv2d, ModulatedDeformConv2d)) for layer in network.modules())
    for name, translate in ONNX.items():
        torch.onnx.register_custom_op_symbolic(name, translate, OPSET)
    written = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # tracing fixes shapes and branches; that is wanted here, the input size never changes
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # the exporter's notes about constant folding
        torch.onnx.export(network, (image,), written, dynamo=False, opset_version=DEFORM_CONV_OPSET if deformable else OPSET,
                          input_names=["image"], output_names=names,
                          dynamic_axes={name: {0: "detections"} for name in growing})
    return written.getvalue()


def set_metadata(proto, entries):
    """Write `model_info` entries (key → text) into an onnx.ModelProto, in place, where Model API looks for them."""
    import onnx
    onnx.helper.set_model_props(proto, {f"{ONNX_PREFIX}{key}": text for key, text in entries.items()})


def _example(model):
    """An image on which everything happens, so that nothing is traced on empty tensors."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, *model.input_size, generator=generator) * 255
