"""Names of the published snapshots' tensors."""

import pytest

from instance_segmentation.engine.legacy import modern_key


@pytest.mark.parametrize("old, new", [
    ("backbone.features.init_block.conv.bn.running_var", "backbone.layers.0.bn.running_var"),
    ("backbone.features.stage1.unit1.dw_conv.conv.weight", "backbone.layers.1.0.depthwise_conv.conv.weight"),
    ("backbone.features.stage4.unit8.conv3.bn.bias", "backbone.layers.4.7.linear_conv.bn.bias"),
    ("backbone.features.stage5.unit7.se.conv2.bias", "backbone.layers.5.6.se.conv2.conv.bias"),
    ("neck.fpn_convs.0.conv.weight", "neck.fpn_convs.0.conv.weight"),
], ids=["stem", "depth-wise", "projection", "squeeze", "already modern"])
def test_modern_key(old, new):
    assert modern_key(old) == new
