"""metrics.yaml and metrics.json; what may go to a terminal."""

import argparse
import json
import math

import pytest
import yaml

from instance_segmentation.cli import run
from instance_segmentation.errors import MediaError
from instance_segmentation.report import (
    file_record,
    metric_records,
    number,
    printable,
    progress,
    say,
    table,
    write_metrics_json,
    write_metrics_yaml,
)


def test_metrics_yaml_has_the_documented_keys_and_keeps_foreign_ones(tmp_path):
    weights = tmp_path / "best.pth"
    weights.write_bytes(b"abc")
    path = tmp_path / "metrics.yaml"
    path.write_text("note: mine\nmetrics: [old]\n")
    metrics = {"bbox/AP": 0.3411234, "segm/AP": 0.2945678}
    write_metrics_yaml(path, [file_record(weights)], metric_records(metrics, 10.27, 18.09))
    content = yaml.safe_load(path.read_text())
    assert content["note"] == "mine"
    assert content["files"] == [dict(name="best.pth", size=3, source=str(weights.resolve()), sha256=(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))]
    assert content["metrics"] == [
        dict(key="size", display_name="Size", unit="Mp", value=10.27),
        dict(key="complexity", display_name="Complexity", unit="GFLOPs", value=18.09),
        dict(key="bbox", display_name="Bbox AP @ [IoU=0.50:0.95]", unit="%", value=34.112),
        dict(key="segm", display_name="Segm AP @ [IoU=0.50:0.95]", unit="%", value=29.457)]


def test_metrics_json_is_unrounded_and_nan_is_null(tmp_path):
    write_metrics_json(tmp_path / "m.json", {"a": 1 / 3, "b": [math.nan], "ä": "Erdbeere"})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": 1 / 3, "b": [None], "ä": "Erdbeere"}


def test_number_for_people():
    assert number(0.12345) == "0.123" and number(math.nan) == "–"


def test_names_are_no_markup(capsys):
    """A class may be called like a tag of rich's: it is shown whole, and `[/m8]` is no closing tag."""
    table("x [/m8]", ("class [red]", "n"), [("bolt [m8]", 1), ("x [/m8]", 2), ("tomato [ripe]", 3), (":car:", 4)])
    say("Data", "a :car: of class x [/m8]")
    with progress("tiles [/of] {this}") as show:
        show(1, 2)
    out = capsys.readouterr().out
    for name in ("x [/m8]", "class [red]", "bolt [m8]", "tomato [ripe]", ":car:", "a :car: of class x [/m8]"):
        assert name in out


HOSTILE = "a\x1b]0;owned\x07b\x9b31mc\r\u202ed\ud83de\udcff"


@pytest.mark.parametrize("tell", [
    lambda: say("Data", HOSTILE), lambda: say(HOSTILE), lambda: table(HOSTILE, (HOSTILE, ""), [(HOSTILE, 1)]),
    lambda: run(argparse.ArgumentParser(), [], fail)], ids=["text", "title", "table", "error"])
def test_terminals_get_no_commands(capsys, tell):
    """Names from a downloaded model or data set may hold escape sequences."""
    tell()
    out = "".join(capsys.readouterr())
    assert r"a\x1b]0;owned\x07b\x9b31mc\x0d\u202ed\ud83de\xff" in out.replace("\n", "")
    assert not set(out) & set("\x1b\x07\x9b\r\u202e")


def fail(args):
    raise MediaError(HOSTILE)


def test_printable_keeps_what_people_write():
    assert printable(text := "Äpfel\t→ 苹果\n\u200fסלט\u200f 🍎") == text
