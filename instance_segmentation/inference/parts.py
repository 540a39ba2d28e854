"""Part files: what was found so far, one line of JSON per image, and how those of all shards become one result.

The first line says which run it is. A line counts when it is whole, so a run can be killed at any time.
"""

import contextlib
import csv
import hashlib
from collections import Counter
from pathlib import Path
from typing import TypedDict

import msgspec

from instance_segmentation.coco.findings import spelled
from instance_segmentation.errors import MediaError
from instance_segmentation.writing import replacing

NAME = "part-{}-of-{}.jsonl"


def part_path(folder, shard):
    """The part file of shard (i, n) in a folder."""
    return Path(folder) / NAME.format(*shard)


class Part:
    """A shard's part file.

    Args:
        path: The file.
        settings: What must be the same in all parts of a run and whenever it is resumed; values that JSON can hold.
        entries: The run's images in order, those of other shards too: `id` and `file_name`.
        shard: (i, n).
        root: Folder of the images. Each line notes the size and the time of change of its image, and counts as long as they last.
    """

    def __init__(self, path, settings, entries, shard, root):
        listing = hashlib.sha256(msgspec.json.encode(entries)).hexdigest()
        head = dict(settings=settings, images=len(entries), listing=listing, shard=shard)
        self.path, self.head, self.root = path, msgspec.json.decode(msgspec.json.encode(head)), root
        first, step = shard
        self.mine = {entry["file_name"]: (place, entry) for place, entry in list(enumerate(entries))[first - 1::step]}

    def begin(self):
        """Begin the file, or go on with it: whole lines about images of this shard stay.

        Returns:
            Names of the images that are done: whole lines of their own, and files that have not changed since.

        Raises:
            MediaError: It was begun with other settings, or cannot be written.
        """
        done = set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary, open(temporary, "wb") as file:
                file.write(msgspec.json.encode(self.head) + b"\n")
                for line in self._kept():
                    done.add(line["file_name"])
                    file.write(self._encoded(line) + b"\n")
        except OSError as error:
            raise MediaError(f"{self.path}: cannot be written ({error.strerror}); choose another folder with -o") from error
        return done

    def _kept(self):
        if not self.path.is_file():
            return
        head, lines = read_part(self.path)
        if head is None:  # the run before ended before its first line was whole: nobody knows what others are of
            return
        was, now = head["settings"], self.head["settings"]
        changed = [key for key in now if key in was and was[key] != now[key]]
        if changed or set(now) != set(was):
            raise MediaError(f"{self.path}: was begun with another {', '.join(changed) or 'version of this tool'}; take another "
                             "folder with -o, or remove this file to begin again")
        seen = set()
        for _, line in lines:
            name = line["file_name"]
            if name in self.mine and name not in seen and line.get("file") == state_of(self.root / name):
                seen.add(name)
                yield line

    def _encoded(self, line):
        place, entry = self.mine[line["file_name"]]
        return msgspec.json.encode({**line, "place": place, "id": entry["id"]})  # both change when images come or go

    @contextlib.contextmanager
    def open(self):
        """Yield a function (file name, size_hw, annotations) that adds an image's line."""
        with open(self.path, "ab") as file:
            def write(name, size_hw, annotations):
                line = dict(file_name=name, height=size_hw[0], width=size_hw[1], annotations=annotations,
                            file=state_of(self.root / name))
                file.write(self._encoded(line) + b"\n")
                file.flush()
            yield write


def state_of(file):
    """What changes when a file is replaced: its size in bytes and its time of change in nanoseconds."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


class Settings(TypedDict):
    """What a part's head is read for; the other settings are only compared."""

    classes: list[str]
    category_ids: list[int]


class Head(TypedDict):
    """The first line."""

    settings: dict
    images: int
    listing: str


class Found(TypedDict):
    """What a line is read for in an annotation."""

    category_id: int


class Line(TypedDict):
    """A line of an image; what else is in it is kept."""

    file_name: str
    id: int | str
    place: int
    height: int
    width: int
    annotations: list[dict]


def read_part(path):
    """Read a part file.

    Returns:
        Its head, None when not even that was written whole, and an iterator of (offset in bytes, line) over the whole lines.
    """
    with open(path, "rb") as file:
        first = file.readline()
    head = _parsed(first, Head)
    if head and not _fits(head["settings"], Settings):
        head = None
    known = set(head["settings"]["category_ids"]) if head else set()
    return head, ((offset, line) for offset, line in _lines(path, len(first)) if _counts_all(line, known))


def _counts_all(line, known):
    """Whether all annotations of a line are of the head's categories."""
    return all(_fits(item, Found) and item["category_id"] in known for item in line["annotations"])


def _lines(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        for text in file:
            if line := _parsed(text, Line):
                yield offset, line
            offset += len(text)


def _parsed(text, kind):
    """A line as a dict; None when it is not whole, for a run was killed while it wrote it, or is no line of ours."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        value = msgspec.json.decode(text)
        return value if _fits(value, kind) else None
    return None


def _fits(value, kind):
    with contextlib.suppress(msgspec.ValidationError):
        msgspec.convert(value, kind)
        return True
    return False


def merge_parts(folders, output):
    """Write predictions.json and counts.csv of all shards' part files.

    Args:
        folders: Where part files are.
        output: Folder.

    Returns:
        Path of predictions.json, and class name → number of objects.

    Raises:
        MediaError: Part files are missing, not finished, or of different runs; or the output cannot be written.
    """
    paths = [path for folder in folders for path in sorted(folder.glob(NAME.format("*", "*")))]
    if not paths:
        raise MediaError(f"{', '.join(map(str, folders))}: no part files ({NAME.format('I', 'N')}); run instseg predict first")
    head = _common_head(paths)
    lines = Lines(paths)
    if len(lines) < head["images"]:
        raise MediaError(f"{head['images'] - len(lines):,} of {spelled(head['images'], 'image')} are missing in "
                         f"{', '.join(map(str, paths))}; run the shares that are not finished again, or name all folders")
    settings, path = head["settings"], Path(output) / "predictions.json"
    names = dict(zip(settings["category_ids"], settings["classes"], strict=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            _write_coco(file, lines, names)
        with replacing(path.with_name("counts.csv")) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            counts = _write_counts(file, lines, names)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}); choose another folder with -o") from error
    return path, counts


def _common_head(paths):
    heads = [read_part(path)[0] for path in paths]
    for path, head in zip(paths, heads, strict=True):
        if head is None:
            raise MediaError(f"{path}: its first line is damaged; remove the file, and run its share again")
        if any(head[key] != heads[0][key] for key in ("settings", "images", "listing")):
            raise MediaError(f"{path}: is of another run than {paths[0]} (model, settings or images differ); run both shares "
                             "with the same command, or remove one")
    return heads[0]


class Lines:
    """The lines of part files in the order of the images; only where they begin is kept in memory."""

    def __init__(self, paths):
        self.places = {line["place"]: (path, offset) for path in paths for head, lines in [read_part(path)]
                       for offset, line in lines if 0 <= line["place"] < head["images"]}

    def __len__(self):
        return len(self.places)

    def __iter__(self):
        with contextlib.ExitStack() as stack:
            files = {path: stack.enter_context(open(path, "rb")) for path in {path for path, _ in self.places.values()}}
            for _, (path, offset) in sorted(self.places.items()):
                files[path].seek(offset)
                yield msgspec.json.decode(files[path].readline())


def _write_coco(file, lines, names):
    """Write a COCO file whose annotations are numbered from 1 and have scores."""
    categories = [dict(id=number, name=name) for number, name in names.items()]
    file.write(b'{"categories": ' + msgspec.json.encode(categories) + b',\n"images": [')
    for index, line in enumerate(lines):
        image = {key: line[key] for key in ("id", "file_name", "height", "width")}
        file.write((b",\n" if index else b"\n") + msgspec.json.encode(image))
    file.write(b'],\n"annotations": [')
    number = 0
    for line in lines:
        for annotation in line["annotations"]:
            number += 1
            file.write((b",\n" if number > 1 else b"\n") + msgspec.json.encode(
                {**annotation, "id": number, "image_id": line["id"]}))
    file.write(b"]}\n")


def as_cell(text):
    """A text for a table: with an apostrophe before it where a spreadsheet would compute it, `=HYPERLINK(…).jpg`."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _write_counts(file, lines, names):
    """Write a row per image with the number of objects of each class; returns the sums, class name → number."""
    rows, total = csv.writer(file), Counter(dict.fromkeys(names.values(), 0))
    rows.writerow(["image", *map(as_cell, names.values()), "all"])
    for line in lines:
        counts = Counter(names[annotation["category_id"]] for annotation in line["annotations"])
        rows.writerow([as_cell(line["file_name"]), *(counts[name] for name in names.values()), counts.total()])
        total.update(counts)
    return dict(total)
