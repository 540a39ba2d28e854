"""Names of the published snapshots' backbone tensors (pytorchcv's efficientnet_b2b) in mmdet's EfficientNet.

Both list the same layers in the same order with the same shapes; only the names differ.
"""

import re

UNIT = {"conv1": "expand_conv", "conv2": "depthwise_conv", "conv3": "linear_conv", "dw_conv": "depthwise_conv",
        "pw_conv": "linear_conv"}
STAGE = re.compile(r"backbone\.features\.stage(\d+)\.unit(\d+)\.(?:(se)\.(conv[12])|(\w+))\.(.+)")


def modern_key(name):
    """Translate one tensor name; a name of any other kind comes back unchanged."""
    if name.startswith("backbone.features.init_block.conv."):
        return name.replace("features.init_block.conv", "layers.0")
    match = STAGE.fullmatch(name)
    if not match:
        return name
    stage, unit, squeeze, squeeze_conv, layer, rest = match.groups()
    block = f"backbone.layers.{stage}.{int(unit) - 1}"
    if squeeze:
        return f"{block}.se.{squeeze_conv}.conv.{rest}"
    return f"{block}.{UNIT.get(layer, layer)}.{rest}"
