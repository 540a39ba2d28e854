"""`instseg ls`: the templates side by side."""

import argparse
import textwrap

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
    """Print one line for each template where that fits, else two: numbers, and below them what it is good for."""
    from rich.measure import Measurement

    from instance_segmentation import api
    from instance_segmentation.report import console
    rows = [row(template) for template in api.list_templates()]
    output = console()
    wide = table(rows)
    if output.is_terminal and output.width < Measurement.get(output, output.options.update(max_width=1000), wide).maximum:
        output.print("\n".join(narrow_lines(rows)), markup=False, soft_wrap=True)
        return
    if not output.is_terminal:
        output.width = 500  # one line per template, whatever the width of the window
    output.print(wide)


def table(rows):
    """All columns beside each other."""
    from rich.table import Table
    from rich.text import Text
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        text = name in ("template", "good for")
        grid.add_column(name, justify="left" if text else "right", no_wrap=name != "good for")
    for cells in rows:
        grid.add_row(*map(Text, cells))
    return grid


def narrow_lines(rows):
    """Lines of at most 80 columns (the longest name and all numbers take 77), whose names can be copied whole."""
    *numbers, good_for = range(len(COLUMNS))
    widths = [max(len(cells[column]) for cells in (COLUMNS, *rows)) for column in numbers]
    lines = []
    for cells in (COLUMNS, *rows):
        first, *others = (cells[column] for column in numbers)
        aligned = (f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((f"{first:<{widths[0]}}", *aligned)).rstrip())
        if cells is not COLUMNS:
            lines += textwrap.wrap(cells[good_for], 80, initial_indent="    ", subsequent_indent="    ")
    return lines


def row(template):
    """One template's cells as text."""
    height, width = template.input_size
    numbers = [("size", 2), ("complexity", 1), ("bbox", 1), ("segm", 1)]
    values = ((template.metric(key), digits) for key, digits in numbers)
    texts = ("–" if value is None else f"{value:.{digits}f}" for value, digits in values)
    return (template.name, f"{height}×{width}", *texts, template.good_for)
