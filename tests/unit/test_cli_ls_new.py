"""`instseg`, `instseg ls`, `instseg new`, `compress.py`: exit codes and what the user reads."""

import io
import json
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from instance_segmentation import __version__, report
from instance_segmentation.cli import compress, ls, main, new
from instance_segmentation.templates.catalogue import list_templates
from instance_segmentation.templates.workdir import instantiate

NAME = "efficientnet_b2b-mask_rcnn-480x480"


def python(*arguments, **options):
    """Run Python on this source tree from any folder."""
    path = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


def test_ls_lists_every_template_in_one_line_each_when_piped(capsys):
    assert main.main(["ls"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["template", "input", "Mp", "GFLOPs", "box", "AP", "mask", "AP", "good", "for"]
    assert [line.split()[0] for line in lines] == [template.name for template in list_templates()]
    assert next(line for line in lines if NAME in line).split()[:6] == [NAME, "480×480", "10.27", "18.1", "34.1", "29.4"]
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(("width", "per_template"), [(80, 2), (100, 2), (200, 1)])
def test_ls_fits_the_window_and_keeps_names_whole(monkeypatch, width, per_template):
    text = io.StringIO()
    monkeypatch.setattr(report, "console", lambda: Console(file=text, width=width, force_terminal=True, color_system=None))
    assert main.main(["ls"]) == 0
    lines, templates = text.getvalue().splitlines(), list_templates()
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 + per_template * len(templates)
    assert all(any(template.name in line for line in lines) for template in templates)
    assert all(any(template.good_for in line for line in lines) for template in templates)


def test_ls_shows_a_dash_where_no_number_is_published(minimal):
    from instance_segmentation.templates.schema import Template

    for metric in minimal["metrics"]:
        metric["value"] = None
    assert ls.row(Template.model_validate(minimal)) == ("tiny", "64×96", "–", "–", "–", "–", "tests")


def test_new_says_what_it_made_and_what_is_next(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["new", NAME, "my work", "--do-not-load-snapshot"]) == 0
    out = capsys.readouterr().out
    assert f"Template    {NAME}" in out
    assert "none: training starts from random weights" in out
    assert "Next        python 'my work/train.py' --train-ann-files TRAIN.json" in out
    assert (tmp_path / "my work" / "train.py").is_file()


def test_new_with_a_snapshot_puts_it_in_the_next_command(capsys, tmp_path, template, minimal, snapshot_file):
    folder = template(dict(dependencies=[{**minimal["dependencies"][0], "source": snapshot_file.as_uri()}]))
    assert new.main([str(folder / "template.yaml"), str(tmp_path / "work")]) == 0
    out = capsys.readouterr().out
    assert "Snapshot    snapshot.pth, 1.0 MB" in out
    assert f"--load-weights {tmp_path / 'work' / 'snapshot.pth'}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "work"], "no template 'nothing'"),
        ([NAME, "work", "--offline"], "--offline forbids a download"),
        ([NAME, "full"], "is not empty"),
    ],
)
def test_new_fails_in_one_message(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert main.main(["new", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("instseg new: ")
    assert message in err
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == ["full"]


def test_new_ctrl_c_exits_130(monkeypatch, tmp_path):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("instance_segmentation.templates.workdir.fetch", interrupt)
    assert new.main([NAME, str(tmp_path / "work")]) == 130
    assert not os.listdir(tmp_path)


def test_new_usage_error_exits_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["new", NAME])
    assert "usage: instseg new" in capsys.readouterr().err


def test_download_bar_is_one_line_when_piped(capsys):
    with new.download_progress(None) as progress:
        for done in (0, 500_000, 1_000_000):
            progress(done, 1_000_000)
    out, err = capsys.readouterr()
    assert out == "Download     (1.0 MB)\n"
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "no verb given"),
        ([], 2, "\nFirst steps:\n  instseg ls"),
        (["doctor"], 2, "did you mean 'check-data'?"),
        (["nwe"], 2, "unknown verb 'nwe'; did you mean 'new'?"),
        (["xyz"], 2, "unknown verb 'xyz'\n"),
        (["--version"], 0, f"instseg {__version__}"),
        (["--help"], 0, "verbs:\n  ls "),
        (["-h"], 0, "Make a work dir"),
    ],
)
def test_dispatcher(capsys, arguments, code, text):
    assert main.main(arguments) == code
    out, err = capsys.readouterr()
    assert text in (err if code else out)


DATA = [flag for split in ("train", "val") for flag in (f"--{split}-ann-files", "a.json", f"--{split}-data-roots", "a")]
ASKED = ["--load-weights", "x.pth", "--save-model-to", "int8", *DATA]


@pytest.mark.parametrize("flags, text", [
    (["--nncf-quantization"], "missing: --load-weights, --save-model-to, --train-ann-files"),
    (["--nncf-pruning", "--nncf-sparsity"], "--nncf-sparsity, --nncf-pruning: not offered"),
    ([*ASKED, "--nncf-binarization"], "--nncf-binarization: not offered"),
], ids=["no data", "other methods", "another method"])
def test_compress_answers(capsys, tmp_path, flags, text):
    assert compress.main(flags, work_dir=tmp_path) == 1
    assert text in capsys.readouterr().err


def test_compress_says_that_the_template_offers_none(capsys, tmp_path):
    """Under its other name, too."""
    work = instantiate(NAME, tmp_path / "work", load_snapshot=False)
    text = (work / "template.yaml").read_text()
    (work / "template.yaml").write_text(re.sub(r"optimisations:\n(  .*\n)+", "optimisations: null\n", text))
    assert main.main(["quantize", str(work), *ASKED, "--nncf-quantization"]) == 1
    assert "offers no compression" in capsys.readouterr().err


@pytest.mark.parametrize("flag, value", [("--max-drop", "1.5"), ("--max-drop", "nan"), ("--calibration-images", "0")])
def test_compress_refuses_senseless_numbers(capsys, tmp_path, flag, value):
    with pytest.raises(SystemExit, match="2"):
        compress.main([*ASKED, flag, value], work_dir=tmp_path)
    assert f"got '{value}'" in capsys.readouterr().err


def test_wrapper_and_old_script_run_from_another_folder(repo, tmp_path):
    made = python(
        repo / "tools" / "instantiate_template.py", NAME, tmp_path / "my work", "--do-not-load-snapshot", cwd=tmp_path
    )
    assert (made.returncode, made.stderr) == (0, "")
    ran = python(tmp_path / "my work" / "compress.py", "--nncf-pruning", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("compress.py: --nncf-pruning: not offered")
    assert python(tmp_path / "my work" / "train.py", "--help", cwd=tmp_path).stdout.startswith("usage: train.py")


def test_scaffold_scripts_are_six_lines_at_most(repo):
    scripts = sorted((repo / "instance_segmentation" / "templates" / "scaffold").glob("*.py"))
    assert [path.name for path in scripts] == ["compress.py", "eval.py", "export.py", "train.py"]
    assert max(len(path.read_text().splitlines()) for path in scripts) <= 6


def test_ls_and_new_import_nothing_heavy(tmp_path):
    script = (
        "import json, sys\nfrom instance_segmentation.cli.main import main\n"
        f"main(['ls']); code = main(['new', '{NAME}', sys.argv[1], '--do-not-load-snapshot'])\n"
        "heavy = {'torch', 'mmengine', 'mmdet', 'openvino', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "print(json.dumps([code, sorted(heavy)]))"
    )
    ran = python("-c", script, tmp_path / "work")
    assert json.loads(ran.stdout.splitlines()[-1]) == [0, []], ran.stderr
