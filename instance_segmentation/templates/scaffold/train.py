"""Fine-tune this work dir's network."""
import sys
from pathlib import Path
from instance_segmentation.cli.train import main
sys.exit(main(work_dir=Path(__file__).resolve().parent))
