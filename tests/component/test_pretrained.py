"""`instseg pretrained` against a server on this machine: old snapshots, converted and exported."""

import copy
import hashlib

import pytest
import torch
import yaml

from instance_segmentation.cli.pretrained import main
from instance_segmentation.data.named import COCO_CLASSES
from instance_segmentation.engine.legacy import modern_key
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.model import load_model
from tests.component.speaking import TEMPLATES, photo_like, speaking_network
from tests.unit.conftest import MINIMAL
from tests.unit.file_server import serving_files

pytestmark = pytest.mark.component
MODEL = TEMPLATES / "custom-instance-segmentation/efficientnet_b2b-mask_rcnn-480x480/model.py"
SIZE = (64, 96)
WRITTEN = ("model.pth", "model.onnx", "model.xml", "model.bin")


@pytest.fixture(scope="module")
def snapshot(repo, tmp_path_factory):
    """A file as OTE published them: pytorchcv's names, no class list, no config."""
    keys = [line.split("\t")[0] for line in (repo / "tests/data/snapshot_keys_480.tsv").read_text().splitlines() if "\t" in line]
    own = speaking_network(COCO_CLASSES, SIZE).state_dict()
    state = {key: own[modern_key(key)] for key in keys}
    file = tmp_path_factory.mktemp("published") / "www" / "net.pth"
    file.parent.mkdir()
    torch.save(dict(meta=dict(epoch=0, iter=0), state_dict=state), file, _use_new_zipfile_serialization=False)
    return file


@pytest.fixture
def zoo(snapshot, tmp_path, monkeypatch):
    """Three templates: one whose URL is dead, one that works, one without weights; gives the words that name them."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "cache"))
    content, data = copy.deepcopy(MINIMAL), snapshot.read_bytes()
    with serving_files(snapshot.parent) as address:
        for name, file in dict(dead="gone.pth", lives="net.pth", untrained=None).items():
            folder = tmp_path / "zoo" / name
            folder.mkdir(parents=True)
            (folder / "model.py").write_text(f"_base_ = {str(MODEL)!r}\ninput_size = {SIZE}\n")
            weights = [dict(source=f"{address}/{file}", destination="snapshot.pth", size=len(data),
                            sha256=hashlib.sha256(data).hexdigest())]
            content.update(name=name, dependencies=weights if file else [], initial_weights="snapshot.pth" if file else None)
            (folder / "template.yaml").write_text(yaml.safe_dump(content))
        yield ["--model_zoo", str(tmp_path / "zoo"), "-o", str(tmp_path / "out")]


def test_a_dead_url_does_not_stop_the_others(zoo, tmp_path, capsys):
    assert main([*zoo, "--segmentoly"]) == 1
    out, err = capsys.readouterr()
    assert "gone.pth: the server has no such file" in out and "1 of 2 models could not be made ready" in err and "dead" in err
    folder = tmp_path / "out" / "lives"
    assert all((folder / name).is_file() for name in WRITTEN) and "renamed" in out
    photo = photo_like(SIZE, 3)
    checkpoint, ir = (load_model(folder / name, LoadOptions(threshold=0.1)) for name in ("model.pth", "model.xml"))
    expected, found = checkpoint(photo), ir(photo)
    assert checkpoint.classes == COCO_CLASSES and ir.contract.inputs == ("im_data", "im_info")
    assert len(expected) > 5 and found.labels.tolist() == expected.labels.tolist()
    written = (folder / "model.xml").stat().st_mtime_ns
    (folder / "snapshot.pth").unlink()
    assert main([*zoo, "lives", "--segmentoly", "--offline"]) == 0
    assert "is ready" in capsys.readouterr().out and (folder / "model.xml").stat().st_mtime_ns == written
    assert (folder / "snapshot.pth").is_file()  # from the cache


def test_from_the_cache_only(zoo, tmp_path, capsys):
    assert main([*zoo, "lives", "--offline"]) == 1
    assert "net.pth: not in the cache, and --offline forbids a download" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
