"""Points of accuracy against time: which stay, which wins, what the picture and the table show."""

import json
from dataclasses import asdict

import pytest

from instance_segmentation.deployment.tradeoff import Point, pareto, recommend, tell, worth_timing

FULL = Point("FP32", 1000, 0.05, 0.40, 50.0, 20.0)
FEWER = Point("FP32", 300, 0.05, 0.40, 30.0, 33.0)
FEWEST = Point("FP32", 100, 0.05, 0.35, 20.0, 50.0)
SURER = Point("FP32", 300, 0.20, 0.398, 25.0, 40.0)
INT8 = Point("INT8", 1000, 0.05, 0.39, 28.0, 35.0)
POINTS = [FULL, FEWER, FEWEST, SURER, INT8]


def test_less_work_in_the_same_precision_that_finds_as_much_wins_untimed():
    assert worth_timing(POINTS) == [FEWER, FEWEST, SURER, INT8]


def test_pareto_leaves_out_what_is_beaten_in_both():
    assert pareto(POINTS) == [FEWER, FEWEST, SURER]
    assert pareto([FULL]) == [FULL]


@pytest.mark.parametrize(("max_drop", "expected"), [(0.0, FEWER), (0.005, SURER), (1.0, FEWEST)])
def test_recommended_is_the_fastest_within_the_drop(max_drop, expected):
    assert recommend(POINTS, max_drop) == expected


def test_table_compares_with_the_first_and_marks_the_choice(capsys):
    tell(POINTS, SURER, "proposals")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["1000", "300", "1000", "300", "100"], "the slowest first"
    assert "1.00x" in lines[1] and "-0.0020" in lines[4] and "2.00x" in lines[4]
    assert ["recommended" in line for line in lines] == [False] * 4 + [True, False]
    assert ["Pareto" in line for line in lines] == [False, False, True, False, True, True]


def test_picture(tmp_path):
    from instance_segmentation.plots import accuracy_against_time
    points = [dict(asdict(point), pareto=point in pareto(POINTS), recommended=point == SURER) for point in POINTS]
    (tmp_path / "plan.json").write_text(json.dumps(dict(points=points)))
    accuracy_against_time(tmp_path / "plan.json", tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
