"""Fine-tune this work dir's network."""
from pathlib import Path
from instance_segmentation.cli.train import main

raise SystemExit(main(work_dir=Path(__file__).resolve().parent))
