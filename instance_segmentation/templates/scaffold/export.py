"""Export a checkpoint to OpenVINO."""
import sys
from pathlib import Path
from instance_segmentation.cli.export import main
sys.exit(main(work_dir=Path(__file__).resolve().parent))
