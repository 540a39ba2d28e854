#!/usr/bin/env python3
"""Fetch every template's published weights and export them: `instseg pretrained` under Segmentoly's name."""
import sys

from instance_segmentation.cli.pretrained import main

sys.exit(main(prog="download_pretrained_weights.py"))
