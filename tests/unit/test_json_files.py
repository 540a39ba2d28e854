"""JSON as people's tools write it."""

import json

import pytest

from instance_segmentation.errors import DatasetError
from instance_segmentation.json_files import JsonError, parse_json, read_json

DOCUMENT = {"name": "Überfluß", "count": 3, "list": [1.5, None, True]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_every_encoding_gives_the_same_document(encoding):
    assert parse_json(json.dumps(DOCUMENT, ensure_ascii=False).encode(encoding)) == DOCUMENT


def test_nan_is_read_as_python_writes_it():
    assert str(parse_json(b'{"area": NaN, "far": -Infinity}')) == "{'area': nan, 'far': -inf}"


@pytest.mark.parametrize("content, words", [
    (b'{"a": [1, 2', "line 1, column"),
    (b"", "line 1, column 1"),
    (b"[" * 200_000, "nested too deeply"),
    (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    (b'{"a": "\\ud800"}', "half a character"),
    (b"\xff\xfe\0", "not valid JSON"),
    (bytes(range(256)), "not valid JSON"),
])
def test_what_is_no_json_is_said_in_one_sentence(content, words):
    with pytest.raises(JsonError, match=words):
        parse_json(content)


def test_a_whole_surrogate_pair_is_one_character():
    assert parse_json(b'["\\ud83d\\ude00", NaN]')[0] == "😀"


def test_the_error_names_the_file_and_is_of_the_callers_class(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{")
    with pytest.raises(DatasetError, match=r"a\.json: is not valid JSON"):
        read_json(tmp_path / "a.json", DatasetError)
    with pytest.raises(DatasetError, match="no such file"):
        read_json(tmp_path / "none.json", DatasetError)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_json(tmp_path, DatasetError)
