"""What people and machines read: terminal tables, metrics.yaml and metrics.json, always with plain floats."""

import contextlib
import hashlib
import json
import math
import re
import sys
import time
from pathlib import Path

import yaml

from instance_segmentation.writing import replacing

# what a terminal obeys instead of showing it (controls, orders of writing), and halves of characters, which nothing can write
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
BBOX_AP, SEGM_AP = "Bbox AP @ [IoU=0.50:0.95]", "Segm AP @ [IoU=0.50:0.95]"


def printable(text):
    """A text of others (names of classes and files, what a model says of itself) as it may go to a terminal.

    Escape sequences and the like become visible text instead of being obeyed; line ends and tabs stay.
    """
    return UNPRINTABLE.sub(_visible, str(text))


def _visible(match):
    code = ord(match[0])
    if 0xdc80 <= code <= 0xdcff:  # a byte of a file's name that is no UTF-8, as Python keeps it
        code -= 0xdc00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def console(stderr=False):
    """A rich Console: colours and progress on a terminal, plain lines when piped (NO_COLOR is respected)."""
    from rich.console import Console
    plain = not (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=200 if plain else None, soft_wrap=plain, highlight=False, emoji=False)


def say(title, text=""):
    """Print one line of the form `Data        480 images, …`."""
    from rich.text import Text
    console().print(Text(f"{printable(title):<11} ", "bold") if title else "", end="")
    console().print(printable(text), markup=False)


def say_data(**splits):
    """Print what each split holds, and every note about what was dropped or mended."""
    say("Data", " · ".join(f"{name} {annotations.summary()}" for name, annotations in splits.items()))
    for name, annotations in splits.items():
        for note in annotations.notes:
            say("", f"{name}: {note}")


@contextlib.contextmanager
def progress(title):
    """Yield a callback (done, total or None) for work that may be long: a bar on a terminal, a line every 30 s otherwise."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    screen, printed = console(), time.monotonic()
    bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   console=screen, transient=True, disable=not screen.is_terminal)
    task = bar.add_task(printable(title), total=None)

    def show(done, total):
        nonlocal printed
        bar.update(task, completed=done, total=total)
        if not screen.is_terminal and time.monotonic() - printed > 30:
            printed = time.monotonic()
            screen.print(printable(title) + f"  {done:,}" + (f" of {total:,}" if total else ""), markup=False)

    with bar:
        yield show


def file_record(path):
    """Describe a file as metrics.yaml does: name, size in bytes, sha256 and where it lies (links resolved)."""
    path = Path(path).resolve()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() if sys.version_info >= (3, 11) else _sha256(file)
    return dict(name=path.name, sha256=digest, size=path.stat().st_size, source=str(path))


def _sha256(file):
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def metric_records(metrics, size_mp, complexity_gflops):
    """The four metrics of metrics.yaml: Size, Complexity, Bbox AP, Segm AP; AP in percent, NaN where undefined."""
    rows = [("size", "Size", "Mp", size_mp), ("complexity", "Complexity", "GFLOPs", complexity_gflops),
            ("bbox", BBOX_AP, "%", round(100 * metrics["bbox/AP"], 3)),
            ("segm", SEGM_AP, "%", round(100 * metrics["segm/AP"], 3))]
    return [dict(key=key, display_name=name, unit=unit, value=value) for key, name, unit, value in rows]


def write_metrics_yaml(path, files, records):
    """Write metrics.yaml; keys of an existing file other than `files` and `metrics` are kept."""
    path = Path(path)
    content = (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}
    content.update(files=files, metrics=records)
    write_text(path, yaml.safe_dump(content, allow_unicode=True))


def write_metrics_json(path, content):
    """Write every number unrounded; NaN becomes null, which every JSON reader accepts."""
    write_text(path, json.dumps(_json_ready(content), indent=1, ensure_ascii=False) + "\n")


def _json_ready(value):
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def write_text(path, text):
    """Replace a text file in one step, so that a reader never sees half of it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def number(value, digits=3):
    """A metric for people: rounded, `–` where there is no ground truth."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def table(title, columns, rows):
    """Print a table; the first column is text, the others are right-aligned. No cell is markup: `bolt [m8]` is a name."""
    from rich.table import Table
    from rich.text import Text

    def cell(value):
        return Text(printable(value))

    grid = Table(title=cell(title) if title else None, box=None, title_justify="left", header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        grid.add_column(cell(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*map(cell, row))
    console().print(grid)


def class_table(metrics, classes, counts, max_dets=100):
    """Print AP per class, the worst first, and what to look at.

    Args:
        metrics: `segm/AP/<class>` and the like, in [0, 1].
        classes: Class names.
        counts: Class name → number of objects in the annotations.
        max_dets: Detections per image and class that count.
    """
    def segm_ap(name):
        value = metrics[f"segm/AP/{name}"]
        return math.inf if math.isnan(value) else value

    ordered = sorted(classes, key=segm_ap)
    keys = ("segm/AP", "segm/AP50", "bbox/AP", "bbox/AP50", f"segm/AR{max_dets}")
    rows = [(name, counts.get(name, 0), *(number(metrics[f"{key}/{name}"]) for key in keys)) for name in ordered]
    rows.append(("all", sum(counts.values()), *(number(metrics[key]) for key in keys)))
    table("", ("class", "objects", "segm AP", "AP50", "bbox AP", "AP50", f"segm AR@{max_dets}"), rows)
    worst = ordered[0]
    if segm_ap(worst) < metrics["segm/AP"] and len(classes) > 1:
        say("", f"Weakest: {worst}, with {counts.get(worst, 0)} objects here. {advice(metrics, worst)}")


def advice(metrics, name):
    """One sentence on what to do about a weak class."""
    box, mask = metrics[f"bbox/AP/{name}"], metrics[f"segm/AP/{name}"]
    if box == 0:
        return "Nothing of it was found: check its labels in the training set, and how many there are."
    if mask < 0.7 * box:
        return "Boxes are better than masks: check how exactly its outlines are drawn, or take a larger input size."
    return "More labelled examples of it will help most; look at its misses with --save-output-to."
