#!/usr/bin/env python3
"""Make a work dir from a template: `instseg new` under its old name."""
import sys

from instance_segmentation.cli.new import main

sys.exit(main(prog="instantiate_template.py"))
