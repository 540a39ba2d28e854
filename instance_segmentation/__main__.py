"""`python -m instance_segmentation` is `instseg`."""

import sys

from instance_segmentation.cli.main import main

sys.exit(main())
