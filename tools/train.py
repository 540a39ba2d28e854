#!/usr/bin/env python3
"""Train with Segmentoly's flags, by default Detectron's end-to-end Mask R-CNN baseline."""
import sys

from instance_segmentation.cli.segmentoly_train import main

sys.exit(main())
