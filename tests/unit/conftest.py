"""Small template trees, written by each test so that it shows its input."""

import copy
import hashlib

import pytest
import yaml

SNAPSHOT = bytes(range(256)) * 4000  # 1,024,000 bytes

MINIMAL = dict(
    name="tiny",
    domain="Instance Segmentation",
    problem="Custom Instance Segmentation",
    framework="MMDetection",
    summary="A template for tests.",
    good_for="tests",
    annotation_format="COCO",
    input_size=[64, 96],
    initial_weights="snapshot.pth",
    dependencies=[
        dict(
            source="https://example.invalid/tiny.pth",
            destination="snapshot.pth",
            size=len(SNAPSHOT),
            sha256=hashlib.sha256(SNAPSHOT).hexdigest(),
        )
    ],
    training_target=["CPU"],
    inference_target=["CPU"],
    hyper_parameters=dict(basic=dict(batch_size=2, base_learning_rate=0.01, epochs=3)),
    output_format=dict(openvino=dict(input_format="BGR")),
    optimisations=None,
    metrics=[dict(display_name=key, key=key, unit="-", value=1.5) for key in ("bbox", "segm", "size", "complexity")],
    gpu_num=1,
    config="model.py",
    tensorboard=True,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def minimal():
    """Contents of a valid template.yaml; the test may change them."""
    return copy.deepcopy(MINIMAL)


@pytest.fixture
def build_tree():
    """Write {path: text or bytes} below a folder."""

    def build(folder, files):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return build


@pytest.fixture
def template(tmp_path, minimal, build_tree):
    """Write templates/family/tiny with a base file; gives a function (changes of template.yaml, files) → folder."""

    def make(changes=None, files=None):
        content = {**minimal, **(changes or {})}
        tree = {
            "_base_/shared.py": "# shared\nlr = 0.1\n",
            "family/tiny/model.py": '_base_ = "../../_base_/shared.py"\nsize = 64\n',
            "family/tiny/template.yaml": yaml.safe_dump(content),
            **(files or {}),
        }
        return build_tree(tmp_path / "templates", tree) / "family" / "tiny"

    return make


@pytest.fixture
def snapshot_file(tmp_path):
    """The file that the minimal template's size and sha256 belong to."""
    path = tmp_path / "published.pth"
    path.write_bytes(SNAPSHOT)
    return path
