"""Score a checkpoint or an exported model."""
import sys
from pathlib import Path
from instance_segmentation.cli.eval import main
sys.exit(main(work_dir=Path(__file__).resolve().parent))
