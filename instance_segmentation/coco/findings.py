"""Collect everything that is wrong with a file, and everything that was mended, one counted sentence per kind."""

import difflib
import re
from dataclasses import dataclass, field

from instance_segmentation.errors import DatasetError


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found, for people and for JSON.

    Attributes:
        level: "problem": training refuses the data; "warning": it runs, but learns or scores worse; "note": handled by a rule.
        where: Split or file.
        text: What was found, with its count and the first example.
        remedy: What to do about it; empty where nothing needs doing.
        count: How often.
        items: All of them, where they are known: names, or pairs of names.
    """

    level: str
    where: str
    text: str
    remedy: str = ""
    count: int = 1
    items: list = field(default_factory=list)


class Findings:
    """Problems (nothing may start) and notes (mended, kept or dropped by a stated rule) of one annotation file.

    A sentence is a kind: equal sentences are counted and keep the first example. ``{n}`` becomes the count and
    ``one|many`` the word that fits it.

    Args:
        source: Name of the file, as the user gave it.
    """

    def __init__(self, source):
        self.source = str(source)
        self.whole = False
        """Whether a problem is of the file as a whole, so that no copy without it can be made."""
        self._problems = {}
        self._notes = {}

    def problem(self, sentence, example="", count=1, whole=False):
        """Count one thing the user must mend; `example` is a text, or a function making it, called for the first."""
        self.whole |= whole
        _count(self._problems, sentence, example, count)

    def note(self, sentence, example="", count=1):
        """Count one thing that was handled by a stated rule."""
        _count(self._notes, sentence, example, count)

    @property
    def problems(self):
        """Sentences in the order in which their kinds were met."""
        return [_spell(*item) for item in self._problems.items()]

    @property
    def notes(self):
        """Sentences in the order in which their kinds were met."""
        return [_spell(*item) for item in self._notes.items()]

    def listed(self, where):
        """Return every kind as a `Finding`; a sentence is "what; remedy"."""
        return [_listed(level, where, *kind) for level, kinds in (("problem", self._problems), ("note", self._notes))
                for kind in kinds.items()]


def raise_problems(all_findings):
    """Raise one DatasetError that lists every problem of every file; return when there is none."""
    blocks = []
    for findings in all_findings:
        problems = findings.problems
        if problems:
            head = f"{findings.source}: {spelled(len(problems), 'problem')}, nothing was started."
            blocks.append("\n  ".join([head, *problems]))
    if blocks and not any(findings.whole for findings in all_findings):
        blocks.append("`instseg check-data … --fix DIR` writes a copy without the images and objects that are wrong.")
    if blocks:
        raise DatasetError("\n".join(blocks))


def spelled(count, noun):
    """Return a count with its noun: ``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def did_you_mean(name, candidates):
    """Return ``; did you mean X?`` for the candidate closest to `name` (letter case first), or an empty string."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.7)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""


def _count(kinds, sentence, example, count):
    if sentence in kinds:
        kinds[sentence][0] += count
    else:
        kinds[sentence] = [count, example() if callable(example) else example]


def counted(sentence, count):
    """Return a sentence for a count: ``{n}`` and ``one|many`` filled in."""
    return re.sub(r"(\w+)\|(\w+)", r"\1" if count == 1 else r"\2", sentence).replace("{n}", f"{count:,}")


def _spell(sentence, kind):
    count, example = kind
    text = counted(sentence, count)
    if not example:
        return text
    return f"{text} ({example})" if count == 1 else f"{text} (first: {example})"


def _listed(level, where, sentence, kind):
    what, _, remedy = sentence.partition("; ")
    return Finding(level, where, _spell(what, kind), counted(remedy, kind[0]), kind[0])
