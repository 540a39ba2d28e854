#!/usr/bin/env python3
"""Write a template's or a work dir's network as ONNX: `instseg convert_to_onnx`."""
import sys

from instance_segmentation.cli.convert_to_onnx import main

sys.exit(main(prog="convert_to_onnx.py"))
