"""`instseg demo` from the command line to the files it writes, with a model of constants; no torch."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_segmentation import demo as demo_module
from instance_segmentation.cli.demo import main, parser
from instance_segmentation.demo import Frames
from instance_segmentation.inference import window
from instance_segmentation.inference.drawing import Look
from instance_segmentation.inference.metrics import STAGES
from instance_segmentation.inference.monitors import Monitors
from instance_segmentation.inference.pipeline import Frame
from instance_segmentation.inference.sources import open_source
from instance_segmentation.prediction import Prediction
from tests.unit import tiny_models

LEVELS = list(range(255, 95, -8))  # the model's score follows the brightness, so the order of the frames can be read from it


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Finds one object of class `red dog` in the middle."""
    info = dict(label_info='{"label_names": ["cat", "red dog"]}')
    return str(tiny_models.mask_rcnn(tmp_path_factory.mktemp("model") / "m.xml", rt_info=info))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index, level in enumerate(LEVELS):
        cv2.imwrite(str(folder / f"{index:02}.png"), np.full((96, 144, 3), level, np.uint8))
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("video") / "v.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 12, (144, 96))
    for level in LEVELS:
        writer.write(np.full((96, 144, 3), level, np.uint8))
    writer.release()
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def scores(lines):
    return [item["score"] for line in lines for item in line["objects"]]


def frames_of(path):
    return len(list(open_source(path).pictures))


@pytest.mark.parametrize("number", [0, 1, 7])
def test_folder_in_order_whatever_the_number_of_requests(model, photos, tmp_path, capsys, number):
    assert main(["-m", model, "-i", str(photos), "--no_show", "-t", "0.3", "-nireq", str(number),
                 "-o", str(tmp_path / "o_%03d.png"), "--save-json", str(tmp_path / "o.jsonl")]) == 0
    lines = read_lines(tmp_path / "o.jsonl")
    assert [line["source"] for line in lines] == [f"{index:02}.png" for index in range(len(LEVELS))]
    assert scores(lines) == pytest.approx([0.9 * level / 255 for level in LEVELS], rel=1e-3)
    assert {item["track_id"] for line in lines for item in line["objects"]} == {None}
    assert lines[0]["objects"][0]["label"] == "red dog" and lines[0]["objects"][0]["box"] == [36, 24, 108, 72]
    assert len(list(tmp_path.glob("o_*.png"))) == len(LEVELS)
    out = capsys.readouterr().out
    assert [name for name in ("FPS", "Latency", *STAGES, f"{len(LEVELS)} frames") if name not in out] == []


def test_tiles_find_what_each_part_of_a_picture_shows(model, photos, tmp_path):
    assert main(["-m", model, "-i", str(photos), "--no_show", "-t", "0.3", "--tile", "96",
                 "--save-json", str(tmp_path / "o.jsonl")]) == 0
    lines = read_lines(tmp_path / "o.jsonl")
    assert [[item["box"] for item in line["objects"]] for line in lines] == [[[24, 24, 72, 72], [72, 24, 120, 72]]] * len(LEVELS)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_video_is_tracked_and_saved(model, video, tmp_path, suffix):
    assert main(["-m", model, "-i", video, "--no_show", "-t", "0.3", "-o", str(tmp_path / f"o{suffix}"), "--show_boxes",
                 "--show_scores", "--output_resolution", "72x96", "-u", "cdm", "--save-json", str(tmp_path / "o.jsonl")]) == 0
    source = open_source(tmp_path / f"o{suffix}")
    sizes = [image.shape[:2] for _, image in source.pictures]
    assert sizes == [(48, 72)] * len(LEVELS) and source.fps == 12
    assert {item["track_id"] for line in read_lines(tmp_path / "o.jsonl") for item in line["objects"]} == {0}


def test_tracker_gets_the_picture():
    image, given = np.full((6, 8, 3), 7, np.uint8), []
    frames = Frames(Look(), Monitors(""), lambda prediction: given.append(prediction) or prediction, table=False, lines=None,
                    writer=None, resolution_wh=None, rates=False, delay=None)
    nothing = Prediction(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), [], ("a",), (6, 8))
    frames.take(Frame(0, "", image, 0.0), nothing)
    assert given[0].image_bgr is image and nothing.image_bgr is None


def test_limit_of_saved_frames_and_no_tracking(model, video, tmp_path):
    assert main(["-m", model, "-i", video, "--no_show", "-o", str(tmp_path / "o.avi"), "-limit", "5", "--no_track",
                 "--save-json", str(tmp_path / "o.jsonl")]) == 0
    lines = read_lines(tmp_path / "o.jsonl")
    assert frames_of(tmp_path / "o.avi") == 5 and len(lines) == len(LEVELS)
    assert {item["track_id"] for line in lines for item in line["objects"]} == {None}


def test_single_image_and_the_raw_table(model, photos, tmp_path, capsys):
    assert main(["-m", model, "-i", str(photos / "00.png"), "--no_show", "-r", "-o", str(tmp_path / "o.jpg")]) == 0
    row = capsys.readouterr().out.splitlines()[3].split("|")
    assert [float(cell) for cell in row] == pytest.approx([2, 0.9, 36, 24, 108, 72])
    assert (tmp_path / "o.jpg").is_file()


@pytest.mark.parametrize("flags, frames, says", [
    ([], 8, "score ≥ 0.1 cat, 0.7 red dog: the model's own for each class"),
    (["-t", "0.8"], 4, "score ≥ 0.8: as given"),
], ids=["the model's", "the flag's"])
def test_threshold_in_force(photos, tmp_path, capsys, flags, frames, says):
    info = dict(label_info='{"label_names": ["cat", "red dog"]}', instseg_export='{"class_thresholds": [0.1, 0.7]}')
    path = str(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=info))
    assert main(["-m", path, "-i", str(photos), "--no_show", "--save-json", str(tmp_path / "o.jsonl"), *flags]) == 0
    assert len(scores(read_lines(tmp_path / "o.jsonl"))) == frames
    assert f"Threshold   {says}\n" in capsys.readouterr().out


def test_broken_image_ends_the_run_and_leaves_a_playable_video(model, photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(9):
        (folder / f"{index}.png").write_bytes((photos / "00.png").read_bytes()[:20 if index == 6 else None])
    assert main(["-m", model, "-i", str(folder), "--no_show", "-o", str(tmp_path / "o.mp4"), "-nireq", "2"]) == 1
    assert "6.png: cannot be read" in capsys.readouterr().err
    assert frames_of(tmp_path / "o.mp4") in (4, 5, 6)  # one or two may still have been on their way


def test_failing_rendering_ends_the_run_and_leaves_a_playable_video(model, video, tmp_path, monkeypatch):
    def fail_at(image, prediction, look):
        if image.mean() < LEVELS[4]:
            raise RuntimeError("boom")
        return image
    monkeypatch.setattr(demo_module, "draw", fail_at)
    with pytest.raises(RuntimeError, match="boom"):
        main(["-m", model, "-i", video, "--no_show", "-o", str(tmp_path / "o.avi")])
    assert frames_of(tmp_path / "o.avi") in (4, 5, 6)  # the video's grey levels are not exact


@pytest.mark.parametrize("number, code, suffix, says", [
    (signal.SIGINT, 130, ".avi", "interrupted"), (signal.SIGTERM, 143, ".mp4", "ended by SIGTERM")],
    ids=["Ctrl-C", "docker stop"])
def test_a_run_that_is_ended_leaves_a_playable_video(model, video, tmp_path, number, code, suffix, says):
    output = tmp_path / f"o{suffix}"
    process = subprocess.Popen([sys.executable, "-m", "instance_segmentation", "demo", "-m", model, "-i", video, "--no_show",
                                "--loop", "-o", output, "-limit", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (output.is_file() and output.stat().st_size > 20_000):
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and says in err and "FPS" in out and "Traceback" not in err, out + err
    assert frames_of(output) > 5


def test_without_a_display_one_warning(model, photos, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["-m", model, "-i", str(photos)]) == 0
    assert capsys.readouterr().err.splitlines() == ["Warning: there is no display, so nothing is shown, as with --no_show"]


def test_display_that_cannot_be_opened(monkeypatch):
    """OpenCV's window library would end the process."""
    monkeypatch.setenv("DISPLAY", ":97")
    assert window.why_no_window()


def test_keys_end_the_run_and_switch_monitors(model, video, monkeypatch):
    keys, shown = iter([-1, ord("c"), ord("q")]), []
    monkeypatch.setattr(demo_module, "_can_show", lambda: True)
    monkeypatch.setattr(window, "show", lambda picture, delay: shown.append((picture, delay)) or next(keys))
    assert main(["-m", model, "-i", video, "--loop", "--delay", "7"]) == 0
    assert [delay for _, delay in shown] == [7, 7, 7]
    corners = [picture[-20:, :30].mean() for picture, _ in shown]
    assert corners[2] < 0.6 * corners[1]  # the panel is dark


def test_what_was_found_is_told(model, photos, video, capsys):
    assert main(["-m", model, "-i", str(photos / "00.png"), "--no_show"]) == 0
    out = capsys.readouterr().out
    assert "Found       1 object in 1 frame: 1 red dog\n" in out and "Metrics     1 frame, " in out
    assert main(["-m", model, "-i", video, "--no_show", "-t", "0.3"]) == 0
    assert f"{len(LEVELS)} objects in {len(LEVELS)} frames: {len(LEVELS)} red dog; followed as 1 track" in capsys.readouterr().out


def test_a_loop_that_has_saved_all_it_may_ends(model, photos, video, tmp_path, capsys):
    """Without a window, a table or new lines of JSON, further rounds would go nowhere."""
    for number, source in enumerate((str(photos), video, str(photos / "00.png"))):
        assert main(["-m", model, "-i", source, "--no_show", "--loop", "-limit", "5", "-o", str(tmp_path / f"{number}_%d.png"),
                     "--save-json", str(tmp_path / "o.jsonl")]) == 0
        assert len(list(tmp_path.glob(f"{number}_*.png"))) == 5
        assert "The 5 frames of -limit are saved" in capsys.readouterr().out


def test_frames_that_the_limit_leaves_out_are_told(model, video, tmp_path, capsys):
    assert main(["-m", model, "-i", video, "--no_show", "-o", str(tmp_path / "o.avi"), "-limit", "5"]) == 0
    assert "o.avi, 5 frames; -limit 5 leaves the others out, -limit 0 saves all" in capsys.readouterr().out


def links_to(path, name):
    other = path.with_name(name)
    other.hardlink_to(path)
    return other


@pytest.mark.parametrize("output", [lambda path: path, lambda path: path.parent / ".." / path.parent.name / path.name,
                                    lambda path: links_to(path, f"link{path.suffix}")], ids=["itself", "..", "link"])
@pytest.mark.parametrize("kind", ["video", "photo"])
def test_the_input_is_never_overwritten(model, photos, video, tmp_path, capsys, kind, output):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = folder / ("v.avi" if kind == "video" else "a.png")
    path.write_bytes((photos / "00.png").read_bytes() if kind == "photo" else Path(video).read_bytes())
    before = path.read_bytes()
    assert main(["-m", model, "-i", str(path), "-o", str(output(path)), "--no_show"]) == 1
    assert "is an input and would be overwritten" in capsys.readouterr().err and path.read_bytes() == before


@pytest.mark.parametrize("pattern, code", [("%02d.png", 1), ("%d.png", 0), ("0%d.png", 1), ("%02d.jpg", 0)])
def test_numbered_pictures_never_overwrite_a_folder_that_is_read(model, photos, tmp_path, pattern, code):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index:02}.png").write_bytes((photos / f"{index:02}.png").read_bytes())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["-m", model, "-i", str(folder), "-o", str(folder / pattern), "--no_show"]) == code
    assert {path: path.read_bytes() for path in before} == before


def test_json_lines_never_overwrite_what_is_read(model, photos, tmp_path, capsys):
    copy = tmp_path / "m.xml"
    for suffix in (".xml", ".bin"):
        copy.with_suffix(suffix).write_bytes(Path(model).with_suffix(suffix).read_bytes())
    for path in (copy, copy.with_suffix(".bin"), photos / "00.png"):
        before = path.read_bytes()
        assert main(["-m", str(copy), "-i", str(photos), "--no_show", "--save-json", str(path)]) == 1
        assert f"{path.name}: is an input" in capsys.readouterr().err and path.read_bytes() == before


@pytest.mark.parametrize("text", ["1.5", "-0.1", "30", "nan", "half"])
def test_thresholds_beyond_what_scores_can_be(text, capsys):
    with pytest.raises(SystemExit):
        main(["-m", "m.xml", "-i", "a.jpg", "-t", text])
    assert "expected a number from 0 to 1" in capsys.readouterr().err


def test_nothing_but_the_message_about_a_missing_camera(model):
    """OpenCV and FFmpeg print lines of their own, past Python's streams."""
    run = subprocess.run([sys.executable, "-m", "instance_segmentation", "demo", "-m", model, "-i", "7", "--no_show"],
                         capture_output=True, text=True)
    assert run.stderr == "instseg demo: there is no camera 7, or another program uses it\n" and run.returncode == 1


@pytest.mark.parametrize("argument", ["-i", "-o", "--save-json"])
def test_a_file_name_that_is_no_text(model, photos, tmp_path, argument, capsys):
    """OpenCV ends the process when it is given one."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    with open(name, "wb") as file:
        file.write((photos / "00.png").read_bytes())
    for given in (name, str(tmp_path)):
        arguments = {"-i": str(photos), **({argument: given} if argument == "-i" else {argument: name})}
        code = main(["-m", model, "--no_show", *itertools.chain(*arguments.items())])
        assert code in (1, 0 if argument == "--save-json" else 1)
    assert r"caf\xe9.png: its name is not valid UTF-8" in capsys.readouterr().err or argument == "--save-json"


def test_unknown_monitor(model, photos, capsys):
    assert main(["-m", model, "-i", str(photos), "-u", "cx"]) == 1
    assert "no monitor 'x'" in capsys.readouterr().err


def test_monitors_draw_what_they_show():
    canvas = np.full((240, 400, 3), 250, np.uint8)
    Monitors("c,d").draw(canvas)
    assert canvas[-40:, :80].mean() < 150 and canvas[-40:, 80:160].mean() < 180 and (canvas[:, 160:] == 250).all()


SEED = {  # every flag of the Open Model Zoo demo's help text, and its default
    "-m": "model", "--model": "model", "--adapter": ("adapter", "openvino"), "-i": "source", "--input": "source",
    "-d": ("device", "CPU"), "--device": ("device", "CPU"), "--labels": "labels", "--label": "labels",
    "-t": ("prob_threshold", None), "--prob_threshold": ("prob_threshold", None), "--no_track": ("no_track", False),
    "--show_scores": ("show_scores", False), "--show_boxes": ("show_boxes", False), "--layout": ("layout", None),
    "-nireq": ("num_infer_requests", 0), "--num_infer_requests": ("num_infer_requests", 0), "-nstreams": ("num_streams", ""),
    "--num_streams": ("num_streams", ""), "-nthreads": ("num_threads", None), "--num_threads": ("num_threads", None),
    "--loop": ("loop", False), "-o": ("output", None), "--output": ("output", None), "-limit": ("output_limit", 1000),
    "--output_limit": ("output_limit", 1000), "--no_show": ("no_show", False), "--output_resolution": ("output_resolution", None),
    "-u": ("utilization_monitors", ""), "--utilization_monitors": ("utilization_monitors", ""),
    "-r": ("raw_output_message", False), "--raw_output_message": ("raw_output_message", False)}
VALUES = dict(adapter="ovms", prob_threshold="0.3", num_infer_requests="3", num_threads="2", output_limit="9",
              output_resolution="64x48")


@pytest.mark.parametrize("flag", SEED)
def test_flags_of_the_open_model_zoo_demo(flag):
    name, *default = [SEED[flag]] if isinstance(SEED[flag], str) else SEED[flag]
    required = ["--model", "m.xml", "--input", "0"]
    if default:
        assert getattr(parser().parse_args(required), name) == default[0]
    value = [] if default and default[0] is False else [VALUES.get(name, "x")]
    assert getattr(parser().parse_args([*required, flag, *value]), name) not in (default or [None])


@pytest.mark.parametrize("options", [["-nstreams", "1"], ["-nstreams", "CPU:1", "-nthreads", "1"], ["-d", "AUTO"],
                                     ["-d", "HETERO:CPU", "-nstreams", "CPU:1"]], ids=" ".join)
def test_devices_and_streams(model, photos, options, capsys):
    assert main(["-m", model, "-i", str(photos / "00.png"), "--no_show", *options]) == 0


@pytest.mark.parametrize(("options", "says"), [(["-d", "MYRIAD"], "not supported MYRIAD since 2023"),
                                               (["-nstreams", "GPU:2"], "-nstreams GPU:2: expected"),
                                               (["-d", "TOASTER"], "Devices of this machine: (.*)CPU"),
                                               (["-i", "nowhere"], "nowhere: no such file"),
                                               (["-i", "7"], "demo: there is no camera 7"),
                                               (["-o", "x.gif"], "x.gif: expected an output whose name ends in"),
                                               (["-o", "x_%03d_%d.jpg"], "expected one number such as %03d"),
                                               (["-m", "no.xml"], "no.xml: no such file")], ids=str)
def test_mistakes(model, photos, options, says, capsys):
    assert main(["-m", model, "-i", str(photos), "--no_show", *options]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert re.search(says, err), err
