"""Export a checkpoint to OpenVINO."""
from pathlib import Path
from instance_segmentation.cli.export import main

raise SystemExit(main(work_dir=Path(__file__).resolve().parent))
