"""Template-driven fine-tuning of instance segmentation, from COCO annotations to a validated OpenVINO IR."""

__version__ = "0.1.0"
