"""From train.py's flags to best.pth: the run, its preparation, several processes, the search, the run once more."""
