"""Run a program that imports PixelLib, or print the folder to add to PYTHONPATH."""

import runpy
import sys
from pathlib import Path


def main(argv):
    """Run `argv`, a program and its arguments, as `python PROGRAM …` does; print the folder when there is none."""
    folder = str(Path(__file__).resolve().parent)
    if not argv:
        print(folder)
        return
    sys.argv = list(argv)
    sys.path[0] = str(Path(argv[0]).resolve().parent)
    sys.path.insert(1, folder)
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
