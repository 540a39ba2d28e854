"""Other tools' packages under their own names, for programs that import them; never importable unless asked for.

    python -m instance_segmentation.compat PROGRAM …                       run a program
    export PYTHONPATH="$(python -m instance_segmentation.compat)"          or let all programs of a shell find them
"""
