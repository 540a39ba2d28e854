"""Thousands of seeded hostile cases, run in a process of their own that is watched from outside.

A test names a function `case(seed, folder)` of its module. The function writes a hostile file into `folder` (empty each time)
and gives it to the package. What may come of it: nothing ("accepted") or one of our errors ("refused"). What may not:

    traceback   an exception that is not an InstSegError or SystemExit
    crash       the process died
    hang        a case took more than 10 s
    memory      it took more than 1 GB beyond what the process had at its start
    code        a program was started, a shell called, or an address outside the machine was asked for
    escape      a file outside the folder was opened for writing, renamed or removed

    run("test_fuzz_x", case, count=2000, folder=tmp_path).assert_clean()
"""

import collections
import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPO = Path(__file__).resolve().parents[2]
HANG_S, MEMORY_BYTES = 10, 1_000_000_000
FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "pty.spawn"}
CHANGING = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
            "shutil.rmtree": 1}
LOOPBACK = ("127.", "localhost", "::1")


@dataclass
class Report:
    """What came of all cases."""

    counts: collections.Counter = field(default_factory=collections.Counter)
    findings: list = field(default_factory=list)

    def assert_clean(self):
        """Print how many cases were accepted and refused; fail with the first findings when there are any."""
        print(dict(self.counts))
        shown = "\n\n".join(f"seed {seed}: {kind}\n{text}" for seed, kind, text in self.findings[:5])
        assert not self.findings, f"{len(self.findings)} of {sum(self.counts.values())} cases: {dict(self.counts)}\n{shown}"
        assert self.counts["accepted"] + self.counts["refused"] > 0


def run(case, count, folder, first=0):
    """Run `case` with the seeds first … first + count - 1 and return a Report."""
    report, seed, end = Report(), first, first + count
    while seed < end:
        seed = _watch(case, seed, end, folder, report)
    return report


def _watch(case, seed, end, folder, report):
    """Run one process until it ends or must be ended; return the seed to go on with."""
    command = [sys.executable, "-m", __name__, case.__module__, case.__name__, str(folder), str(seed), str(end)]
    (folder / "log").touch()
    with open(folder / "stderr", "w+") as errors, open(folder / "log") as log:
        log.seek(0, os.SEEK_END)
        worker = subprocess.Popen(command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=errors,
                                  env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "MPLCONFIGDIR": str(folder)})
        process, base, peak, started, rest = psutil.Process(worker.pid), None, 0, None, ""
        while True:
            ended = worker.poll() is not None
            for line in log:
                line, rest = rest + line, ""
                if not line.endswith("\n"):  # half a line, of a long message that is being written
                    rest = line
                    continue
                record = json.loads(line)
                if record["kind"] == "start":
                    seed, started = record["seed"], time.monotonic()
                    base, peak = base or _resident(process), 0
                else:
                    report.counts[record["kind"]] += 1
                    if record["kind"] not in ("accepted", "refused"):
                        report.findings.append((record["seed"], record["kind"], record["text"]))
                    seed, started = record["seed"] + 1, None
            peak = max(peak, _resident(process))
            kind = _excess(ended, worker.returncode, started, base, peak)
            if kind or ended:
                break
            time.sleep(0.02)
        if not kind:
            return seed
        worker.kill()
        worker.wait()
        errors.seek(0)
        report.counts[kind] += 1
        report.findings.append((seed, kind, f"exit code {worker.returncode}\n{errors.read()[-1500:]}"))
        return seed + 1


def _excess(ended, code, started, base, peak):
    if ended:
        return "crash" if code != 0 else None
    if started and time.monotonic() - started > HANG_S:
        return "hang"
    return "memory" if base and peak - base > MEMORY_BYTES else None


def _resident(process):
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


class Guard:
    """Notes what a case does that no reader of files may do."""

    def __init__(self, allowed):
        self.allowed = str(allowed.resolve())
        self.watching, self.seen = False, []

    def __call__(self, event, args):
        """Python's audit hook."""
        if not self.watching:
            return
        if event in FORBIDDEN or event == "socket.connect" and not str(args[1][0]).startswith(LOOPBACK):
            self._note("code", event, args)
        elif event == "open" and isinstance(args[0], (str, bytes)) and _writes(args[1], args[2]):
            self._check(args[0], event)
        elif event in CHANGING:
            paths = args[1:2] if event == "os.symlink" else args[:CHANGING[event]]  # where a link leads is only a text
            in_folder = any(isinstance(item, int) and item >= 0 for item in args[CHANGING[event]:])  # relative to an open one
            for path in paths:
                if not (in_folder and event != "os.mkdir" and not os.path.isabs(os.fsdecode(path))):
                    self._check(path, event)

    def _check(self, path, event):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(path))
        if path != os.devnull and "__pycache__" not in path and not path.startswith((self.allowed, "/dev/", "/proc/")):
            self._note("escape", event, path)

    def _note(self, kind, event, what):
        self.seen.append((kind, f"{event} {what!r}"))


def _writes(mode, flags):
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


def _one(case, seed, folder, guard):
    """Return (kind, text) of one case."""
    from instance_segmentation.errors import InstSegError
    guard.seen.clear()
    guard.watching = True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            case(seed, folder)
        kind, text = "accepted", ""
    except (InstSegError, SystemExit) as error:
        kind, text = "refused", str(error)
    except BaseException:
        kind, text = "traceback", traceback.format_exc()[-3000:]
    finally:
        guard.watching = False
    return guard.seen[0] if guard.seen else (kind, text)


def main(module, name, folder, first, end):
    """The watched process: one line into the log before each case and one after it."""
    import tempfile
    folder = Path(folder)
    case = getattr(importlib.import_module(module), name)
    work = folder / "case"
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    guard = Guard(folder)
    sys.addaudithook(guard)
    with open(folder / "log", "a", buffering=1) as log:
        for seed in range(int(first), int(end)):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            log.write(json.dumps(dict(kind="start", seed=seed)) + "\n")
            kind, text = _one(case, seed, work, guard)
            log.write(json.dumps(dict(kind=kind, seed=seed, text=text)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
