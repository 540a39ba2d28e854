"""PixelLib's TensorFlow classes are not here; its PyTorch class is."""

from instance_segmentation.pixellib import instanceSegmentation

__all__ = ["instanceSegmentation"]


def __getattr__(name):
    """Say what to write instead of a class of the TensorFlow side."""
    if name in ("instance_segmentation", "custom_segmentation"):
        raise ImportError(f"pixellib.instance.{name} is PixelLib's TensorFlow class, whose models cannot be run here. Write: "
                          "from pixellib.torchbackend.instance import instanceSegmentation")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
