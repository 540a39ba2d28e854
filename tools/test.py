#!/usr/bin/env python3
"""Compute COCO AP of a model with Segmentoly's flags: test.py … pytorch|openvino …."""
import sys

from instance_segmentation.cli.segmentoly import test

sys.exit(test())
