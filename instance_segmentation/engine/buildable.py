"""What may be built because a checkpoint's own configuration says so: known layers of plain values, and nothing else.

mmengine imports and calls whatever a `type` names, `os.system` too, and some of mmdet's classes read or run files that their
arguments name. A configuration is code, then; that of a file becomes data by the names of this module.
"""

import contextlib

from instance_segmentation.errors import WeightsError

# Of the templates, and of those of mmdet's configurations with masks that do not read files (as its wrappers of other tools,
# distillation, language models and trackers do)
LAYERS = frozenset(
    [
        "MaskRCNN",
        "CascadeRCNN",
        "PointRend",
        "RTMDet",
        "YOLACT",
        "ContractYOLACT",
        "CondInst",
        "HybridTaskCascade",
        "Mask2Former",
        "MaskFormer",
        "MaskScoringRCNN",
        "PanopticFPN",
        "QueryInst",
        "SCNet",
        "SOLO",
        "SOLOv2",
        "DetDataPreprocessor",
        "BatchFixedSizePad",
        "BatchSyncRandomResize",
        "ResNet",
        "ResNetV1d",
        "ResNeXt",
        "ResLayer",
        "RegNet",
        "Res2Net",
        "ResNeSt",
        "HRNet",
        "DetectoRS_ResNet",
        "DetectoRS_ResNeXt",
        "EfficientNet",
        "MobileNetV2",
        "CSPDarknet",
        "CSPNeXt",
        "Darknet",
        "SwinTransformer",
        "PyramidVisionTransformer",
        "PyramidVisionTransformerV2",
        "FPN",
        "FPN_CARAFE",
        "FPG",
        "PAFPN",
        "BFP",
        "HRFPN",
        "NASFPN",
        "RFP",
        "CSPNeXtPAFPN",
        "ChannelMapper",
        "RPNHead",
        "EmbeddingRPNHead",
        "YOLACTHead",
        "YOLACTProtonet",
        "RTMDetInsHead",
        "RTMDetInsSepBNHead",
        "BoxMaskRTMDetHead",
        "SOLOHead",
        "SOLOV2Head",
        "DecoupledSOLOHead",
        "DecoupledSOLOLightHead",
        "CondInstBboxHead",
        "CondInstMaskHead",
        "Mask2FormerHead",
        "MaskFormerHead",
        "MSDeformAttnPixelDecoder",
        "TransformerEncoderPixelDecoder",
        "PixelDecoder",
        "MaskFormerFusionHead",
        "PanopticFPNHead",
        "HeuristicFusionHead",
        "StandardRoIHead",
        "CascadeRoIHead",
        "PointRendRoIHead",
        "LeanPointRendRoIHead",
        "HybridTaskCascadeRoIHead",
        "MaskScoringRoIHead",
        "PISARoIHead",
        "SCNetRoIHead",
        "SparseRoIHead",
        "DynamicRoIHead",
        "DoubleHeadRoIHead",
        "SingleRoIExtractor",
        "GenericRoIExtractor",
        "InclusiveRoIExtractor",
        "RoIAlign",
        "SimpleRoIAlign",
        "BBoxHead",
        "Shared2FCBBoxHead",
        "Shared4Conv1FCBBoxHead",
        "ConvFCBBoxHead",
        "DoubleConvFCBBoxHead",
        "DIIHead",
        "SCNetBBoxHead",
        "FCNMaskHead",
        "BoxMaskHead",
        "CoarseMaskHead",
        "BoxCoarseMaskHead",
        "MaskPointHead",
        "MaskIoUHead",
        "HTCMaskHead",
        "DynamicMaskHead",
        "SCNetMaskHead",
        "SCNetSemanticHead",
        "FusedSemanticHead",
        "GlobalContextHead",
        "FeatureRelayHead",
        "Conv",
        "Conv1d",
        "Conv2d",
        "ConvWS",
        "ConvAWS",
        "ConvModule",
        "SAC",
        "DCN",
        "DCNv2",
        "DynamicConv",
        "NormedConv2d",
        "NormedLinear",
        "Linear",
        "BN",
        "BN2d",
        "GN",
        "LN",
        "IN",
        "IN2d",
        "SyncBN",
        "MMSyncBN",
        "ReLU",
        "ReLU6",
        "LeakyReLU",
        "PReLU",
        "ELU",
        "GELU",
        "SiLU",
        "Swish",
        "HSwish",
        "HSigmoid",
        "Mish",
        "Sigmoid",
        "Tanh",
        "ContextBlock",
        "GeneralizedAttention",
        "NonLocal2d",
        "conv",
        "deconv",
        "nearest",
        "bilinear",
        "carafe",
        "pixel_shuffle",
        "interpolation_conv",
        "last_conv",
        "AnchorGenerator",
        "DetectronAnchors",
        "TorchvisionAnchors",
        "LegacyAnchorGenerator",
        "MlvlPointGenerator",
        "DeltaXYWHBBoxCoder",
        "LegacyDeltaXYWHBBoxCoder",
        "DistancePointBBoxCoder",
        "TBLRBBoxCoder",
        "MaxIoUAssigner",
        "DynamicSoftLabelAssigner",
        "HungarianAssigner",
        "SimOTAAssigner",
        "BboxOverlaps2D",
        "RandomSampler",
        "PseudoSampler",
        "MaskPseudoSampler",
        "OHEMSampler",
        "CombinedSampler",
        "InstanceBalancedPosSampler",
        "IoUBalancedNegSampler",
        "ScoreHLRSampler",
        "ClassificationCost",
        "CrossEntropyLossCost",
        "DiceCost",
        "FocalLossCost",
        "BBoxL1Cost",
        "IoUCost",
        "CrossEntropyLoss",
        "FocalLoss",
        "QualityFocalLoss",
        "VarifocalLoss",
        "GHMC",
        "GHMR",
        "SeesawLoss",
        "L1Loss",
        "SmoothL1Loss",
        "BalancedL1Loss",
        "MSELoss",
        "IoULoss",
        "GIoULoss",
        "DIoULoss",
        "CIoULoss",
        "BoundedIoULoss",
        "DiceLoss",
        "nms",
        "soft_nms",
    ]
)
IGNORED = ("init_cfg", "pretrained")  # how layers begin, which may be a file or an address: here the checkpoint fills them
MOST_VALUES, DEEPEST, LARGEST = 20_000, 40, 100_000  # of a configuration; those of mmdet have some 600, 10 and 12,544


def plain_config(model, known=LAYERS):
    """Copy a network's configuration, if it asks only for known layers.

    Args:
        model: What a file holds in place of one: of any type, and as large as a file can make it.
        known: Names that a `type` may have.

    Returns:
        Dicts, lists and plain values, without IGNORED.

    Raises:
        WeightsError: Names the first place that is something else. The message goes on after the file's name.
    """
    if not isinstance(model, dict) or not isinstance(model.get("type"), str):
        raise WeightsError("its configuration has no network under 'model'")
    return _Copy(known).of(model, "model")


class _Copy:
    """One walk through a configuration, which counts what it sees: a pickle can name the same list a thousand times."""

    def __init__(self, known):
        self.known, self.left = known, MOST_VALUES

    def of(self, node, place):
        self.left -= 1
        if self.left < 0 or place.count(".") > DEEPEST:
            raise WeightsError("its configuration is larger or deeper than that of any network")
        if isinstance(node, dict):
            return {key: self._value(key, value, place) for key, value in node.items() if key not in IGNORED}
        if isinstance(node, (list, tuple)):
            return (
                type(node)(self.of(value, f"{place}.{index}") for index, value in enumerate(node))
                if type(node) in (list, tuple)
                else self._refuse(node, place)
            )
        if node is None or type(node) in (bool, float, str) or type(node) is int and abs(node) <= LARGEST:
            return node
        return self._refuse(node, place)

    def _value(self, key, value, place):
        if not isinstance(key, str) or key == "_scope_":
            raise WeightsError(f"its configuration has the key {_shown(key)} in {place}")
        if key == "type" and not (isinstance(value, str) and value in self.known):
            raise UnknownLayer(f"its configuration asks for {_shown(value)} in {place}")
        return self.of(value, f"{place}.{key}")

    def _refuse(self, node, place):
        raise WeightsError(f"its configuration has {_shown(node)} in {place}")


class UnknownLayer(WeightsError):
    """A configuration names something that is not known to be a layer, and could be any program."""


def _shown(value):
    """A value for a message: text as it is, numbers cut, and of anything else the type alone, whose text may be endless."""
    if isinstance(value, str):
        return repr(value[:60])
    return f"a number beyond {LARGEST:,}" if type(value) is int else f"a {type(value).__name__}"


@contextlib.contextmanager
def no_larger_than(state):
    """Stop the building of a network that the tensors of a checkpoint could not fill, before it takes the memory for it.

    Args:
        state: Name → tensor.

    Raises:
        WeightsError: From within the building.
    """
    from torch.nn.modules import module

    numbers, layers = 4 * sum(tensor.numel() for tensor in state.values()) + 1_000_000, 20 * len(state) + 2_000

    def count(owner, name, part):
        nonlocal numbers, layers
        layers -= 1
        numbers -= part.numel() if hasattr(part, "numel") else 0
        if numbers < 0 or layers < 0:
            raise WeightsError("its configuration describes a network much larger than its tensors")

    with module.register_module_parameter_registration_hook(count), module.register_module_module_registration_hook(count):
        yield
