"""An exported model as the parity gate runs it: with its intermediate results as further outputs."""

import openvino as ov

from instance_segmentation.ir.onnx_session import OnnxSession
from instance_segmentation.ir.parity_images import as_sent
from instance_segmentation.ir.preprocessing import covering_input
from instance_segmentation.ir.session import compile_ir


class Graph:
    """Run a model.

    Args:
        exported: An ov.Model, or the path of an .onnx.
        channel_order: What it expects, `BGR` or `RGB`.
        names: Of the intermediate results.
        port: Where an ov.Model's node of such a name has it.
    """

    def __init__(self, exported, channel_order, names, port=lambda node: node.output(0)):
        self.channel_order = channel_order
        if isinstance(exported, ov.Model):
            self.run = compile_ir(_wider_ir(exported, names, port))
            self.names = [*(output.any_name for output in exported.outputs), *names]
        else:
            self.run = _wider_onnx(exported, names)
            self.names = self.run.names

    def __call__(self, image):
        """Run on a [3, H, W] uint8 BGR tensor; returns outputs and intermediate results by name."""
        answer = self.run(as_sent(image, self.channel_order))
        return {name: answer[name].copy() for name in self.names}


def _wider_ir(ir, names, port):
    ir = ir.clone() if len(ir.inputs) == 1 else covering_input(ir)
    nodes = {node.get_friendly_name(): node for node in ir.get_ops()}
    for name in names:
        port(nodes[name]).add_names({name})
        ir.add_outputs(name)
    return ir


def _wider_onnx(path, names):
    import onnx
    wide = onnx.load(path)
    wide.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return OnnxSession(wide.SerializeToString())
