"""Part files: what was found so far, one line of JSON per image, and how those of all shards become one result.

The first line says which run it is. A line counts when it is whole, so a run can be killed at any time.
"""

import contextlib
import csv
import hashlib
from collections import Counter
from pathlib import Path

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
    """

    def __init__(self, path, settings, entries, shard):
        listing = hashlib.sha256(msgspec.json.encode(entries)).hexdigest()
        head = dict(settings=settings, images=len(entries), listing=listing, shard=shard)
        self.path, self.head = path, msgspec.json.decode(msgspec.json.encode(head))
        first, step = shard
        self.mine = {entry["file_name"]: (place, entry) for place, entry in list(enumerate(entries))[first - 1::step]}

    def begin(self):
        """Begin the file, or go on with it: whole lines about images of this shard stay.

        Returns:
            Names of the images that are done.

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
        was = (head or self.head)["settings"]  # None: the run before ended before its first line was whole
        changed = [key for key, value in self.head["settings"].items() if was.get(key) != value]
        if changed:
            raise MediaError(f"{self.path}: was begun with another {', '.join(changed)}; take another folder with -o, or remove "
                             "this file to begin again")
        seen = set()
        for _, line in lines:
            if line["file_name"] in self.mine and line["file_name"] not in seen:
                seen.add(line["file_name"])
                yield line

    def _encoded(self, line):
        place, entry = self.mine[line["file_name"]]
        return msgspec.json.encode({**line, "place": place, "id": entry["id"]})  # both change when images come or go

    @contextlib.contextmanager
    def open(self):
        """Yield a function (file name, size_hw, annotations) that adds an image's line."""
        with open(self.path, "ab") as file:
            def write(name, size_hw, annotations):
                line = dict(file_name=name, height=size_hw[0], width=size_hw[1], annotations=annotations)
                file.write(self._encoded(line) + b"\n")
                file.flush()
            yield write


def read_part(path):
    """Read a part file.

    Returns:
        Its head, None when not even that was written whole, and an iterator of (offset in bytes, line) over the whole lines.
    """
    lines = _lines(path)
    _, head = next(lines, (0, None))
    return head, lines


def _lines(path):
    with open(path, "rb") as file:
        offset = 0
        for text in file:
            with contextlib.suppress(msgspec.DecodeError):  # a run was killed while it wrote this line
                yield offset, msgspec.json.decode(text)
            offset += len(text)


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
        if head is None or any(head[key] != heads[0][key] for key in ("settings", "images", "listing")):
            raise MediaError(f"{path}: is of another run than {paths[0]} (model, settings or images differ); run both shares "
                             "with the same command, or remove one")
    return heads[0]


class Lines:
    """The lines of part files in the order of the images; only where they begin is kept in memory."""

    def __init__(self, paths):
        self.places = {line["place"]: (path, offset) for path in paths for offset, line in read_part(path)[1]}

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


def _write_counts(file, lines, names):
    """Write a row per image with the number of objects of each class; returns the sums, class name → number."""
    rows, total = csv.writer(file), Counter(dict.fromkeys(names.values(), 0))
    rows.writerow(["image", *names.values(), "all"])
    for line in lines:
        counts = Counter(names[annotation["category_id"]] for annotation in line["annotations"])
        rows.writerow([line["file_name"], *(counts[name] for name in names.values()), counts.total()])
        total.update(counts)
    return dict(total)
