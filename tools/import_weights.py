#!/usr/bin/env python3
"""Make a checkpoint of weights that another tool trained: `instseg import-weights`."""
import sys

from instance_segmentation.cli.import_weights import main

sys.exit(main(prog="import_weights.py"))
