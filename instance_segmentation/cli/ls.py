"""`instseg ls`: the templates side by side."""

import argparse

from instance_segmentation.cli import run

COLUMNS = ("template", "input", "Mp", "GFLOPs", "box AP", "mask AP", "good for")


def parser():
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog="instseg ls", description="List the templates: input (height×width), millions of parameters, complexity, "
        "and the AP published for COCO.", epilog="next: instseg new TEMPLATE FOLDER")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None):
    """Run the verb; returns the exit code."""
    return run(parser(), argv, call)


def call(args):
    """Print the table: whole lines when piped, fitted to the window on a terminal."""
    from rich.table import Table

    from instance_segmentation import api
    from instance_segmentation.report import console
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        text = name in ("template", "good for")
        grid.add_column(name, justify="left" if text else "right", no_wrap=name != "good for")
    for template in api.list_templates():
        grid.add_row(*row(template))
    output = console()
    if not output.is_terminal:
        output.width = 500  # one line per template, whatever the width of the window
    output.print(grid)


def row(template):
    """One template's cells as text."""
    height, width = template.input_size
    numbers = [("size", 2), ("complexity", 1), ("bbox", 1), ("segm", 1)]
    values = ((template.metric(key), digits) for key, digits in numbers)
    texts = ("–" if value is None else f"{value:.{digits}f}" for value, digits in values)
    return (template.name, f"{height}×{width}", *texts, template.good_for)
