"""`instseg new TEMPLATE OUTPUT`, `tools/instantiate_template.py`: make a work dir."""

import argparse
import contextlib
import shlex
from pathlib import Path

from instance_segmentation.cli import run

EXAMPLE = """examples:
  instseg new efficientnet_b2b-mask_rcnn-480x480 my_work
  instseg new my_templates/mine/template.yaml my_work --do-not-load-snapshot

The snapshot is downloaded once, to $INSTSEG_CACHE (default ~/.cache/instance_segmentation).
"""


def parser(prog="instseg new"):
    """Build the argument parser."""
    result = argparse.ArgumentParser(
        prog=prog, description="Make a work dir: the template's config, its snapshot, and train.py, eval.py, export.py "
        "for them.", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("template", metavar="TEMPLATE", help="name (see `instseg ls`), or path of a template.yaml")
    result.add_argument("output", metavar="OUTPUT", type=Path, help="folder to make; must be new or empty")
    result.add_argument("--do-not-load-snapshot", action="store_true",
                        help="do not download the snapshot; training starts from random weights")
    result.add_argument("--force", action="store_true", help="write into an existing work dir: replaces the template's "
                        "files, leaves every other file alone")
    result.add_argument("--offline", action="store_true", help="take the snapshot from the cache, or fail")
    result.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return result


def main(argv=None, prog="instseg new"):
    """Run the verb; returns the exit code."""
    return run(parser(prog), argv, call)


def call(args):
    """Make the work dir and print what comes next."""
    from instance_segmentation import api
    from instance_segmentation.report import say
    template = api.find_template(args.template)
    with download_progress(template.snapshot) as progress:
        path = api.instantiate(template, args.output, load_snapshot=not args.do_not_load_snapshot, force=args.force,
                               offline=args.offline, progress=progress)
    snapshot = api.open_workdir(path).snapshot
    say("Template", template.name)
    say("Snapshot", f"{snapshot.name}, {snapshot.stat().st_size / 1e6:.1f} MB" if snapshot
        else "none: training starts from random weights")
    say("Work dir", str(path))
    load = f" --load-weights {shlex.quote(str(args.output / snapshot.name))}" if snapshot else ""
    say("Next", f"python {shlex.quote(str(args.output / 'train.py'))}{load} --train-ann-files TRAIN.json "
        "--train-data-roots DIR --val-ann-files VAL.json --val-data-roots DIR")


@contextlib.contextmanager
def download_progress(snapshot):
    """Yield a progress callback: a bar on a terminal, one line otherwise; silent when nothing is downloaded."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from instance_segmentation.report import console, say
    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                   TimeRemainingColumn(), console=console(stderr=True))
    tasks = []

    def progress(done, size):
        if not tasks:
            say("Download", f"{snapshot.source if snapshot else ''} ({size / 1e6:.1f} MB"
                + (f", {done / 1e6:.1f} MB are here already)" if done else ")"))
            tasks.append(bar.add_task("           "))
            if bar.console.is_terminal:
                bar.start()
        bar.update(tasks[0], completed=done, total=size)

    try:
        yield progress
    finally:
        if bar.live.is_started:  # else stop() prints an empty line
            bar.stop()
