"""Score a checkpoint or an exported model."""
from pathlib import Path
from instance_segmentation.cli.eval import main

raise SystemExit(main(work_dir=Path(__file__).resolve().parent))
