"""A checkpoint's own configuration builds known layers and nothing else, whoever loads it."""

import copy

import pytest
import torch

from instance_segmentation import api, pixellib
from instance_segmentation.engine.buildable import LAYERS, plain_config
from instance_segmentation.engine.config import dicts_in, read_config, set_classes
from instance_segmentation.engine.network import build_network, identity, load_network, save_network
from instance_segmentation.errors import TemplateError, WeightsError
from instance_segmentation.templates.catalogue import find_template, list_templates
from instance_segmentation.templates.workdir import instantiate

pytestmark = pytest.mark.component
TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
HOSTILE = (
    "os.system",
    "subprocess.check_output",
    "mmengine.x",
    "mmdet.ResNet",
    "KnowledgeDistillationSingleStageDetector",
    "__import__('os').system",
    "Pretrained",
    7,
    None,
    ["ResNet"],
    {"type": "ResNet"},
    torch._utils._rebuild_tensor_v2,
)


def config_of(template):
    template = find_template(template)
    return read_config(template.path / template.config)


@pytest.fixture(scope="module")
def own():
    """What a checkpoint of the template says about its network."""
    return identity(config_of(TEMPLATE), ["a", "b"], TEMPLATE)


@pytest.fixture
def evil(own, tmp_path):
    """A checkpoint whose neck is a folder that gets made."""
    own = copy.deepcopy(own)
    own["config"]["model"]["neck"] = dict(type="os.mkdir", path=str(tmp_path / "ran"))
    return written(own, tmp_path / "evil.pth")


def written(own, path, **meta):
    torch.save(dict(meta=dict(instseg=own, **meta), state_dict={"backbone.w": torch.zeros(1)}), path)
    return path


def all_configs():
    return {template.name: read_config(template.path / template.config).to_dict() for template in list_templates()}


def test_every_template_is_of_known_layers():
    configs = all_configs()
    assert len(configs) > 20
    for cfg in configs.values():
        assert plain_config(cfg["model"])["type"] == cfg["model"]["type"]


def test_known_layers_read_no_files_and_import_nothing():
    """mmdet's classes that do, and names that mmcv evaluates as Python."""
    assert all(name.isidentifier() for name in LAYERS)
    assert not LAYERS & {
        "KnowledgeDistillationSingleStageDetector",
        "LAD",
        "Detectron2Wrapper",
        "BertModel",
        "GLIP",
        "GroundingDINO",
        "CameraMotionCompensation",
        "DetTTAModel",
        "Pretrained",
        "TIMMBackbone",
        "MMPretrainBackbone",
    }


@pytest.mark.parametrize(
    "template",
    [TEMPLATE, "rtmdet-ins_tiny-640x640", "point_rend_r50-800x1344", "yolact_r50-544x544", "instance-segmentation-security-0091"],
)
def test_hostile_type_in_every_place_is_refused(template):
    model = config_of(template).to_dict()["model"]
    places = [number for number, part in enumerate(dicts_in(plain_config(model))) if "type" in part]
    assert len(places) > 10
    for place in places:
        for name in HOSTILE:
            hostile = plain_config(model)
            list(dicts_in(hostile))[place]["type"] = name
            with pytest.raises(WeightsError, match=r"asks for|no network"):
                plain_config(hostile)


@pytest.mark.parametrize(
    "change",
    [dict(_scope_="os"), dict(depth=10**9), dict(depth=torch.ones(2)), dict(depth=torch.float32), {7: 8}, dict(depth=b"x")],
    ids=["scope", "huge number", "tensor", "dtype", "key", "bytes"],
)
def test_other_values_are_refused(own, change):
    model = copy.deepcopy(own["config"]["model"])
    model["backbone"].update(change)
    with pytest.raises(WeightsError, match="model.backbone"):
        plain_config(model)


def test_list_that_holds_itself_or_grows_without_end_is_refused(own):
    circle, doubling = [], [1]
    circle.append(circle)
    for _ in range(60):
        doubling = [doubling, doubling]
    for nested in (circle, doubling):
        with pytest.raises(WeightsError, match="larger or deeper"):
            plain_config({**own["config"]["model"], "neck": nested})


@pytest.mark.parametrize("named", [False, True], ids=["alone", "in a work dir"])
def test_nothing_runs_when_it_is_loaded(evil, named, tmp_path):
    config = find_template(TEMPLATE).path / "model.py" if named else None
    with pytest.raises(WeightsError, match=r"evil.pth: refused.*'os.mkdir' in model.neck\n.*--trust-checkpoint"):
        load_network(evil, config=config)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(WeightsError):
        load_network(evil, config=config, trust=True)
    assert (tmp_path / "ran").exists()  # the trap itself works


@pytest.mark.parametrize(
    "verb",
    ["eval", "export", "demo", "predict", "benchmark", "complexity", "compress", "convert_to_onnx", "load_model", "pixellib"],
)
def test_no_verb_builds_it(verb, evil, tmp_path, sample_data):
    work = instantiate(TEMPLATE, tmp_path / "work", load_snapshot=False)
    val = [[sample_data / "val.json"], [sample_data / "val"]]
    train = [[sample_data / "train.json"], [sample_data / "train"]]
    image = next((sample_data / "val").iterdir())
    calls = dict(
        eval=lambda: api.evaluate(work, load_weights=evil, test_ann_files=val[0], test_data_roots=val[1]),
        export=lambda: api.export(work, load_weights=evil, save_model_to=tmp_path / "out"),
        demo=lambda: api.demo(evil, image, output=tmp_path / "out.jpg", no_show=True),
        predict=lambda: api.predict(evil, sample_data / "val", tmp_path / "out"),
        benchmark=lambda: api.benchmark([evil], image=image, runs=1),
        complexity=lambda: api.complexity(evil),
        compress=lambda: api.compress(
            work,
            load_weights=evil,
            save_model_to=tmp_path / "out",
            train_ann_files=train[0],
            train_data_roots=train[1],
            val_ann_files=val[0],
            val_data_roots=val[1],
        ),
        convert_to_onnx=lambda: api.convert_to_onnx(work, tmp_path / "out.onnx", load_weights=evil),
        load_model=lambda: api.load_model(evil),
        pixellib=lambda: pixellib.instanceSegmentation().load_model(evil),
    )
    with pytest.raises(WeightsError, match="refused, because building it could run code"):
        calls[verb]()
    assert not (tmp_path / "ran").exists()


def test_network_that_its_tensors_cannot_fill_is_not_built(own, tmp_path):
    own = copy.deepcopy(own)
    own["config"]["model"]["roi_head"]["bbox_head"]["fc_out_channels"] = 100_000
    with pytest.raises(WeightsError, match="much larger than its tensors"):
        load_network(written(own, tmp_path / "a.pth"))


def test_first_weights_are_neither_fetched_nor_read(own, tmp_path):
    """`init_cfg` and `pretrained` may name any file; the checkpoint's tensors take their place anyway."""
    own = copy.deepcopy(own)
    own["config"]["model"]["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint=str(tmp_path / "other.pth"))
    assert "init_cfg" not in plain_config(own["config"]["model"])["backbone"]


LAYERS_PY = """
from mmdet.models.backbones import EfficientNet
from mmdet.registry import MODELS

@MODELS.register_module(force=True)
class MyNet(EfficientNet):
    pass

@MODELS.register_module(force=True)
class MyOtherNet(EfficientNet):
    pass
"""


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """A work dir whose model.py imports a module of its own, and a checkpoint of its network."""
    work = instantiate(TEMPLATE, tmp_path / "work", load_snapshot=False)
    (work / "my_layers.py").write_text(LAYERS_PY)
    monkeypatch.syspath_prepend(str(work))
    with open(work / "model.py", "a") as model:
        model.write('\ncustom_imports = dict(imports=["my_layers"])\nmodel = dict(backbone=dict(type="MyNet"))\n')
    cfg = read_config(work / "model.py")
    set_classes(cfg, ["a", "b"])
    save_network(build_network(cfg, ["a", "b"]), work / "best.pth")
    return work


def test_own_layers_are_imported_by_the_work_dirs_model_py_or_with_trust(custom):
    for allowed in (dict(config=custom / "model.py"), dict(trust=True)):
        network = load_network(custom / "best.pth", **allowed)
        assert type(network.backbone).__name__ == "MyNet"
        assert network.cfg.custom_imports.imports == ["my_layers"]  # kept when it is saved again


@pytest.mark.parametrize("config", [None, find_template(TEMPLATE).path / "model.py"], ids=["no work dir", "another work dir"])
def test_own_layers_are_refused_elsewhere(custom, config):
    with pytest.raises(WeightsError, match="Python code of my_layers.*\n.*work dir whose model.py.*--trust-checkpoint"):
        load_network(custom / "best.pth", config=config)


def test_what_the_own_modules_register_may_be_built(custom):
    """model.py may have been edited since: the checkpoint says which of their layers it has."""
    content = torch.load(custom / "best.pth")
    content["meta"]["instseg"]["config"]["model"]["backbone"]["type"] = "MyOtherNet"
    torch.save(content, custom / "other.pth")
    assert type(load_network(custom / "other.pth", config=custom / "model.py").backbone).__name__ == "MyOtherNet"
    content["meta"]["instseg"]["config"]["model"]["backbone"]["type"] = "os.system"
    torch.save(content, custom / "other.pth")
    with pytest.raises(WeightsError, match="'os.system' in model.backbone"):
        load_network(custom / "other.pth", config=custom / "model.py")


def test_own_layers_that_are_gone_say_where_to_look(custom, monkeypatch):
    content = torch.load(custom / "best.pth")
    content["meta"]["instseg"]["config"]["custom_imports"] = dict(imports=["my_lost_layers"])
    torch.save(content, custom / "lost.pth")
    with pytest.raises(WeightsError, match="needs my_lost_layers, which cannot be imported.*PYTHONPATH"):
        load_network(custom / "lost.pth", trust=True)


def test_broken_model_py_is_named(custom):
    (custom / "model.py").write_text("1 / 0")
    with pytest.raises(TemplateError, match="model.py"):
        load_network(custom / "best.pth", config=custom / "model.py")
