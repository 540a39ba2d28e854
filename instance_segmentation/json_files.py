"""Read JSON as people's tools write it: any Unicode encoding, Latin-1 from Windows, NaN; one sentence for what is no JSON."""

import codecs
import contextlib
import json
from pathlib import Path

import msgspec

_MARKS = (  # the longer mark first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)


class JsonError(ValueError):
    """The bytes are no JSON; the message goes on after the file's name: "is not valid JSON: line 3, …"."""


def parse_json(content):
    """Return what a JSON file holds.

    Args:
        content: The file's bytes.

    Raises:
        JsonError: It is no JSON, is nested too deeply, or holds text that cannot be written again.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(content.removeprefix(codecs.BOM_UTF8))
    text = decode_text(content)
    try:
        # The slow parser names line and column. It also reads NaN, which is not JSON but which Python writes.
        value = json.loads(text)
        if "\\ud" in text.lower():  # half a surrogate pair is read, and fails wherever it is written again
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise JsonError(f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
                        " The file may be cut off; export or copy it again") from None
    except UnicodeEncodeError:
        raise JsonError("is not valid JSON: a text in it holds half a character (a lone surrogate). Export it again") from None
    except RecursionError:
        raise JsonError("is nested too deeply to be read. Export or copy it again") from None
    except ValueError as error:  # a number of thousands of digits
        raise JsonError(f"is not valid JSON: {error}") from None
    return value


def decode_text(content):
    """Return the text of a file written by an unknown tool.

    A byte order mark decides; without one UTF-8 is tried, then UTF-16 where every other byte is zero, and Latin-1, which reads
    anything, comes last.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace").removeprefix("\ufeff")
    with contextlib.suppress(UnicodeDecodeError):
        text = content.decode("utf-8")
        if "\0" not in text[:4]:
            return text
    if content[1:2] == b"\0":
        return content.decode("utf-16-le", errors="replace")
    if content[:1] == b"\0":
        return content.decode("utf-16-be", errors="replace")
    return content.decode("cp1252", errors="replace")


def read_json(path, error):
    """Return what a JSON file holds.

    Args:
        path: The file.
        error: Class of the exception for a file that cannot be read, such as `WeightsError`; its message starts with the path.

    Raises:
        error: There is no such file, it cannot be read, or it is no JSON.
    """
    path = Path(path)
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from None
    except JsonError as problem:
        raise error(f"{path}: {problem}") from None
