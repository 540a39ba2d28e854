"""Work dirs appear whole or not at all, and nothing of the user's is lost."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from instance_segmentation.errors import DownloadError, TemplateError
from instance_segmentation.templates import workdir
from instance_segmentation.templates.schema import load_template
from instance_segmentation.templates.workdir import instantiate, open_workdir

FILES = {
    "README.md",
    "_base_/shared.py",
    "compress.py",
    "eval.py",
    "export.py",
    "model.py",
    "template.yaml",
    "train.py",
}


def files(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir()}


def with_snapshot(minimal, snapshot_file):
    """The minimal template's dependencies, by file://."""
    return dict(dependencies=[{**minimal["dependencies"][0], "source": snapshot_file.as_uri()}])


def test_work_dir_holds_all_files_and_nothing_else_remains(template, tmp_path):
    made = instantiate(template(), tmp_path / "out" / "work", load_snapshot=False)
    assert files(made) == FILES
    assert os.listdir(tmp_path / "out") == ["work"]
    assert os.stat(made).st_mode == os.stat(tmp_path / "out").st_mode  # not the private mode of a temporary folder


def test_config_keeps_comments_and_finds_its_base(template, tmp_path):
    made = instantiate(
        template(files={"family/tiny/model.py": '_base_ = ["../../_base_/shared.py"]  # sharéd\nsize = 1  # px\n'}),
        tmp_path / "work",
        load_snapshot=False,
    )
    assert (made / "model.py").read_text() == '_base_ = ["_base_/shared.py"]  # sharéd\nsize = 1  # px\n'
    assert (made / "_base_" / "shared.py").read_text() == "# shared\nlr = 0.1\n"


def test_bases_of_bases(template, tmp_path):
    tree = {
        "family/tiny/model.py": "_base_ = 'middle.py'\n",
        "family/tiny/middle.py": "é = 1; _base_ = ('../../_base_/shared.py',)\n",
    }
    made = instantiate(template(files=tree), tmp_path / "work", load_snapshot=False)
    assert (made / "model.py").read_text() == '_base_ = "_base_/middle.py"\n'
    assert (made / "_base_/middle.py").read_text() == 'é = 1; _base_ = ("shared.py",)\n'
    assert (made / "_base_/shared.py").is_file()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"family/tiny/model.py": "_base_ = '../../../outside.py'\n", "../outside.py": ""},
            "outside the template's root",
        ),
        ({"family/tiny/model.py": "_base_ = '/etc/passwd'\n"}, "outside the template's root"),
        ({"family/tiny/model.py": "_base_ = 'absent.py'\n"}, "no such file"),
        ({"family/tiny/model.py": "_base_ = [\n"}, "is not valid Python"),
        ({"family/tiny/model.py": "_base_ = 'a' + '.py'\n"}, r"model.py:1: got a computed _base_"),
        (
            {"family/tiny/model.py": "with read_base():\n    from .x import *\n"},
            r"model.py:1: 'with read_base\(\)' is not supported",
        ),
        (
            {
                "family/tiny/model.py": "_base_ = ['a/x.py', 'b/x.py']\n",
                "family/tiny/a/x.py": "",
                "family/tiny/b/x.py": "",
            },
            "two base files are named x.py",
        ),
    ],
    ids=["climbs out", "absolute", "absent", "syntax", "computed", "read_base", "same name"],
)
def test_config_that_cannot_come_along(template, tmp_path, tree, message):
    with pytest.raises(TemplateError, match=message):
        instantiate(template(files=tree), tmp_path / "out" / "work", load_snapshot=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["config", "dependency"])
def test_links_must_not_leave_the_template(template, tmp_path, what, minimal):
    (tmp_path / "secret").write_text("secret")
    extra = dict(source="extra.txt", destination="extra.txt")
    folder = template(dict(dependencies=[*minimal["dependencies"], extra]), files={"family/tiny/extra.txt": "x"})
    link = folder / ("model.py" if what == "config" else "extra.txt")
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(TemplateError, match="secret, outside the template's root"):
        instantiate(folder, tmp_path / "work", load_snapshot=False)


def test_file_dependency_is_copied_into_a_sub_folder(template, tmp_path, minimal):
    extra = dict(source="notes.txt", destination="docs/notes.txt")
    folder = template(dict(dependencies=[*minimal["dependencies"], extra]), files={"family/tiny/notes.txt": "read me"})
    made = instantiate(folder, tmp_path / "work", load_snapshot=False)
    assert (made / "docs" / "notes.txt").read_text() == "read me"


@pytest.mark.parametrize("name", ["with space", "ünï→码", "a'quote", "*?[x]", "-dash"])
def test_unusual_names(template, tmp_path, name, minimal, snapshot_file):
    folder = template(with_snapshot(minimal, snapshot_file))
    made = instantiate(folder, tmp_path / name / name)
    assert files(made) == FILES | {"snapshot.pth"}
    instantiate(folder, tmp_path / name / name, force=True)
    assert os.listdir(tmp_path / name) == [name]


def test_readme_has_this_work_dirs_commands_and_no_absolute_path(template, tmp_path):
    text = (instantiate(template(), tmp_path / "work", load_snapshot=False) / "README.md").read_text()
    assert "python train.py --load-weights snapshot.pth" in text
    assert "3 epochs, batch size 2, learning rate 0.01" in text
    assert str(tmp_path) not in text
    assert "$" not in text


def test_open_workdir(template, tmp_path, minimal, snapshot_file):
    bare = open_workdir(instantiate(template(), tmp_path / "bare", load_snapshot=False))
    full = open_workdir(instantiate(template(with_snapshot(minimal, snapshot_file)), tmp_path / "full"))
    assert (bare.config, bare.snapshot, bare.template.name) == (tmp_path / "bare" / "model.py", None, "tiny")
    assert full.snapshot == tmp_path / "full" / "snapshot.pth"
    assert full.snapshot.read_bytes() == snapshot_file.read_bytes()


def test_open_something_else(tmp_path, template):
    with pytest.raises(TemplateError, match="no such work dir. Make one: instseg new"):
        open_workdir(tmp_path / "absent")
    with pytest.raises(TemplateError, match=r"is not a work dir, template\.yaml is missing"):
        open_workdir(tmp_path)
    made = instantiate(template(), tmp_path / "work", load_snapshot=False)
    (made / "model.py").unlink()
    with pytest.raises(TemplateError, match="config: no such file"):
        open_workdir(made)


def test_refuses_a_folder_with_contents(template, tmp_path, build_tree):
    build_tree(tmp_path / "work", {"thesis.txt": "mine"})
    with pytest.raises(TemplateError, match="is not empty; choose another folder, or pass --force"):
        instantiate(template(), tmp_path / "work", load_snapshot=False)
    assert files(tmp_path / "work") == {"thesis.txt"}


def test_fills_an_empty_folder_in_place(template, tmp_path, monkeypatch):
    """A shell may stand in it, or it may be a mount point."""
    (tmp_path / "work").mkdir()
    before = os.stat(tmp_path / "work").st_ino
    monkeypatch.chdir(tmp_path / "work")
    instantiate(template(), ".", load_snapshot=False)
    assert os.stat(tmp_path / "work").st_ino == before
    assert files(tmp_path / "work") == FILES


def test_force_replaces_the_templates_files_only(template, tmp_path, build_tree, minimal, snapshot_file):
    made = instantiate(template(with_snapshot(minimal, snapshot_file)), tmp_path / "work")
    mine = {"outputs/best.pth": "weeks of training", "_base_/mine.py": "x = 1", ".hidden": ""}
    build_tree(made, {**mine, "model.py": "broken", "_base_/shared.py": "broken"})
    instantiate(template(), made, force=True, load_snapshot=False)
    assert files(made) == FILES | set(mine) | {"snapshot.pth"}
    assert (made / "outputs" / "best.pth").read_text() == "weeks of training"
    assert (made / "model.py").read_text().startswith('_base_ = "_base_/shared.py"')
    assert (made / "_base_" / "shared.py").read_text().startswith("# shared")


def test_force_uses_the_verified_snapshot_that_is_there(template, tmp_path, minimal, snapshot_file):
    made = instantiate(template(with_snapshot(minimal, snapshot_file)), tmp_path / "work")
    instantiate(template(), made, force=True, offline=True)  # the URL of this one could not be fetched
    assert open_workdir(made).snapshot.read_bytes() == snapshot_file.read_bytes()


def test_force_mends_a_half_made_work_dir(template, tmp_path, build_tree):
    folder = template()
    build_tree(tmp_path / "work", {"template.yaml": (folder / "template.yaml").read_text()})
    assert files(instantiate(folder, tmp_path / "work", force=True, load_snapshot=False)) == FILES


def test_force_does_not_overwrite_a_folder_that_is_no_work_dir(template, tmp_path, build_tree):
    build_tree(tmp_path / "repo", {"README.md": "my project"})
    with pytest.raises(TemplateError, match="is not a work dir, and has files that would be replaced: README.md"):
        instantiate(template(), tmp_path / "repo", force=True, load_snapshot=False)
    assert (tmp_path / "repo" / "README.md").read_text() == "my project"


def test_force_does_not_follow_links_out_of_the_work_dir(template, tmp_path):
    made = instantiate(template(), tmp_path / "work", load_snapshot=False)
    (tmp_path / "elsewhere").mkdir()
    (made / "_base_" / "shared.py").unlink()
    (made / "_base_").rmdir()
    (made / "_base_").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TemplateError, match="a link leads outside the work dir"):
        instantiate(template(), made, force=True, load_snapshot=False)
    assert not files(tmp_path / "elsewhere")


def test_force_meets_a_folder_named_like_a_file(template, tmp_path):
    made = instantiate(template(), tmp_path / "work", load_snapshot=False)
    (made / "model.py").unlink()
    (made / "model.py").mkdir()
    with pytest.raises(TemplateError, match="model.py: is a folder"):
        instantiate(template(), made, force=True, load_snapshot=False)


@pytest.mark.parametrize("where", ["family/tiny", "family/new", "."])
def test_templates_are_never_written_to(template, tmp_path, where):
    folder = template()
    before = files(tmp_path / "templates")
    with pytest.raises(TemplateError, match="lies among the templates"):
        instantiate(folder, tmp_path / "templates" / where, force=True, load_snapshot=False)
    assert files(tmp_path / "templates") == before


def test_output_is_a_file(template, tmp_path):
    (tmp_path / "work").write_text("")
    with pytest.raises(TemplateError, match="is not a folder"):
        instantiate(template(), tmp_path / "work", force=True, load_snapshot=False)


def test_snapshot_that_cannot_be_had_leaves_nothing(template, tmp_path):
    with pytest.raises(DownloadError) as caught:
        instantiate(template(), tmp_path / "a" / "b" / "work", offline=True)
    assert "--do-not-load-snapshot" in str(caught.value)
    assert "put it at" in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_full_disk_leaves_nothing(template, tmp_path, monkeypatch):
    real = Path.write_bytes

    def write(self, data):
        if self.name == "export.py":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    folder = template()
    monkeypatch.setattr(workdir.Path, "write_bytes", write)
    with pytest.raises(TemplateError, match="cannot be written .No space left on device"):
        instantiate(folder, tmp_path / "out" / "work", load_snapshot=False)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(template, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(workdir, "fetch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        instantiate(template(), tmp_path / "out" / "work")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target_exists", [False, True])
def test_killed_instantiate(template, tmp_path, target_exists):
    """SIGKILL in the middle: no work dir, one hidden folder that the next run removes; a living run's is left alone."""
    folder, output = template(), tmp_path / "out" / "work"
    (output if target_exists else output.parent).mkdir(parents=True)
    script = (
        "import sys, time\nfrom instance_segmentation.templates import workdir\n"
        "def wait(*args, **options):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
        "workdir.fetch = wait\nworkdir.instantiate(sys.argv[1], sys.argv[2])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(output)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "waiting\n"
        place = output if target_exists else output.parent
        [left] = os.listdir(place)
        workdir._remove_if_dead(place / left)
        assert os.listdir(place) == [left]
        process.send_signal(signal.SIGKILL)
    assert ".instseg-new-" in os.listdir(place)[0]
    instantiate(folder, output, load_snapshot=False)
    assert files(tmp_path / "out") == {f"work/{name}" for name in FILES}
    assert os.listdir(tmp_path / "out") == ["work"]
    assert not [name for name in os.listdir(output) if "instseg-new" in name]


def test_a_download_never_becomes_the_program(tmp_path, template, minimal):
    folder = template(dict(dependencies=[*minimal["dependencies"], {**minimal["dependencies"][0], "destination": "model.py"}]))
    with pytest.raises(TemplateError, match="'model.py' is the config"):
        instantiate(load_template(folder / "template.yaml"), tmp_path / "work", load_snapshot=False)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("source, words", [
    ('_base_ = "a\\0b.py"', "no file name has"), ("size = " + "-" * 100_000 + "1", "is not valid Python"),
], ids=["NUL", "depth"])
def test_a_config_that_no_python_reads_is_a_sentence(tmp_path, template, source, words):
    folder = template(files={"family/tiny/model.py": source})
    with pytest.raises(TemplateError, match=words):
        instantiate(load_template(folder / "template.yaml"), tmp_path / "work", load_snapshot=False)


def test_every_work_dir_says_that_it_is_a_program(tmp_path, template):
    instantiate(load_template(template() / "template.yaml"), tmp_path / "work", load_snapshot=False)
    assert "are programs" in (tmp_path / "work" / "README.md").read_text()
