#!/usr/bin/env python3
"""Run a model on images, videos and cameras: `instseg demo`."""
import sys

from instance_segmentation.cli.demo import main

sys.exit(main(prog="demo.py"))
