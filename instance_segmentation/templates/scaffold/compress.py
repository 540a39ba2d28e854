"""Quantise to INT8."""
from pathlib import Path
from instance_segmentation.cli.compress import main

raise SystemExit(main(work_dir=Path(__file__).resolve().parent))
