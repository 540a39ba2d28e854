"""Compress a checkpoint, where the template offers it."""
import sys
from pathlib import Path
from instance_segmentation.cli.compress import main
sys.exit(main(work_dir=Path(__file__).resolve().parent))
