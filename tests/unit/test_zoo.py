"""`instseg download` against a server on this machine, and the published list."""

import hashlib
import re

import pytest
import yaml

from instance_segmentation.cli.download import main
from instance_segmentation.templates import zoo
from tests.unit.file_server import serving_files

XML, BIN = b"<net/>" * 1000, bytes(range(256)) * 500


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A zoo of two models on a server, in place of the real one; gives the server's folder."""
    root = tmp_path / "www"
    (root / "small/FP16").mkdir(parents=True)
    (root / "small/FP16/small.xml").write_bytes(XML)
    (root / "small/FP16/small.bin").write_bytes(BIN)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving_files(root) as address:
        source = f"{address}/small/"
        files = [["FP16/small.xml", len(XML), hashlib.sha384(XML).hexdigest()],
                 ["FP16/small.bin", len(BIN), hashlib.sha256(BIN).hexdigest()], ["FP32/small.bin", 1, "0" * 64]]
        item = dict(good_for="tests", licence="MIT", source=source, files=files)
        (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(dict(small=item, other=item)))
        real = zoo.zoo_models
        monkeypatch.setattr(zoo, "zoo_models", lambda path=None: real(path or tmp_path / "zoo.yaml"))
        yield root / "small"


def test_listed_models_arrive_whole_and_come_from_the_cache_again(published, tmp_path, capsys):
    (tmp_path / "models.lst").write_text("# what the demo runs\nsmall  # a comment\n\n")
    command = ["--list", str(tmp_path / "models.lst"), "-o", str(tmp_path / "models")]
    assert main(command) == 0
    folder = tmp_path / "models/small/FP16"
    assert ((folder / "small.xml").read_bytes(), (folder / "small.bin").read_bytes()) == (XML, BIN)
    assert f"{folder}, licence MIT" in capsys.readouterr().out
    (folder / "small.bin").unlink()
    (published / "FP16/small.bin").unlink()
    assert main([*command, "--offline"]) == 0
    assert (folder / "small.bin").read_bytes() == BIN


def test_file_that_is_another_one_is_refused(published, tmp_path, capsys):
    (published / "FP16/small.xml").write_bytes(XML[::-1])
    assert main(["small", "-o", str(tmp_path / "models")]) == 1
    assert "small.xml: the sha384 of the download is" in capsys.readouterr().err
    assert not (tmp_path / "models/small/FP16/small.xml").exists()


def test_unknown_name_lists_what_there_is(published, tmp_path, capsys):
    assert main(["smal", "-o", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "no model 'smal'; did you mean small?" in err and "  other" in err


def test_the_published_list_is_the_seven_models_of_the_demo(repo):
    models = zoo.zoo_models()
    assert zoo.read_list(repo / "tools/models.lst") == list(models) and len(models) == 7
    for model in models.values():
        assert len(model.of_precision("FP16")) == (1 if "yolact" in model.name else 2)
        for file in model.files:
            assert re.fullmatch("[0-9a-f]{64}|[0-9a-f]{96}", file.digest) and file.size > 100_000
            assert file.source.startswith("https://") and file.source.endswith(file.name)
