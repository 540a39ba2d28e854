"""`from pixellib.torchbackend.instance import instanceSegmentation`."""

from instance_segmentation.pixellib import instanceSegmentation

__all__ = ["instanceSegmentation"]
