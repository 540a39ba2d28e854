"""template.yaml: what is accepted, and that every mistake is reported with its place."""

import pytest
import yaml

from instance_segmentation.errors import TemplateError
from instance_segmentation.templates.schema import load_template


def write(tmp_path, content):
    path = tmp_path / "template.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def put(content, place, value):
    """Set content["a"]["b"][0] given the place a.b.0; the value `...` removes the key."""
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    for part in way:
        content = content[part]
    if value is ...:
        del content[last]
    else:
        content[last] = value


def test_valid_template_knows_its_folder_and_its_snapshot(tmp_path, minimal):
    template = load_template(write(tmp_path, minimal))
    assert template.path == tmp_path.resolve()
    assert template.snapshot.destination == "snapshot.pth"
    assert template.metric("size") == 1.5


INT8 = dict(max_drop=0.01, calibration_images=300)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (
            "hyper_parameters.basic.batch_size",
            "eight",
            "hyper_parameters.basic.batch_size: got 'eight', expected a whole number ≥ 1",
        ),
        ("hyper_parameters.basic.batch_size", "8", "batch_size: got '8', expected a whole number ≥ 1"),
        ("hyper_parameters.basic.batch_size", True, "batch_size: got True, expected a whole number ≥ 1"),
        ("hyper_parameters.basic.epochs", 0, "epochs: got 0, expected a whole number ≥ 1"),
        (
            "hyper_parameters.basic.base_learning_rate",
            float("nan"),
            "base_learning_rate: got nan, expected a number > 0",
        ),
        ("hyper_parameters.basic.epoch", 3, "hyper_parameters.basic.epoch: unknown key; did you mean 'epochs'?"),
        ("hyper_parameters", [], "hyper_parameters: got [], expected a mapping with basic"),
        ("gpu_nun", 1, "gpu_nun: unknown key; did you mean 'gpu_num'?"),
        ("gpu_num", ..., "gpu_num: missing, expected a whole number ≥ 0"),
        ("gpu_num", None, "gpu_num: got null, expected a whole number ≥ 0"),
        ("input_size", [64], "input_size: got [64], expected [height, width], two multiples of 32"),
        ("input_size.1", 100, "input_size[1]: got 100, expected [height, width], two multiples of 32"),
        ("name", "two words", "name: got 'two words', expected letters, digits"),
        ("name", "../up", "name: got '../up', expected letters, digits"),
        ("training_target", ["TPU"], "training_target[0]: got 'TPU', expected a list of CPU and GPU"),
        ("optimisations", "int8", "optimisations: got 'int8', expected a mapping with nncf_quantization, or null"),
        ("optimisations", {"nncf_pruning": {}, "nncf_quantization": INT8}, "optimisations.nncf_pruning: unknown key"),
        ("optimisations", {"nncf_quantization": {**INT8, "max_drop": 2.0}}, "max_drop: got 2.0, expected the segm AP"),
        ("metrics.0.key", "ap", "metrics[0].key: got 'ap', expected one of bbox, segm, size, complexity"),
        ("metrics.1.key", "bbox", "metrics: segm missing"),
        ("metrics.1", 7, "metrics[1]: got 7, expected a mapping"),
        ("config", "/etc/passwd", "config: got '/etc/passwd', expected a relative path inside the template's folder"),
        ("config", "../model.py", "config: got '../model.py', expected a relative path"),
        ("config", "train.py", "config: got 'train.py', expected the name of a .py file"),
        (
            "dependencies.0.destination",
            "../x.pth",
            "dependencies[0].destination: got '../x.pth', expected a relative path inside the work",
        ),
        ("dependencies.0.destination", "/x.pth", "dependencies[0].destination: got '/x.pth'"),
        ("dependencies.0.destination", "a\\..\\x", "dependencies[0].destination: got 'a\\..\\x'"),
        (
            "dependencies.0.destination",
            "train.py",
            "dependencies[0].destination: got 'train.py', a name that every work dir uses",
        ),
        ("dependencies.0.destination", "_base_/x.py", "a name that every work dir uses itself"),
        ("dependencies.0.source", "../../../etc/passwd", "dependencies[0].source: got '../../../etc/passwd'"),
        ("dependencies.0.source", "ftp://host/x.pth", "expected an http://, https:// or file:// URL"),
        ("dependencies.0.sha256", ..., "dependencies[0]: sha256 missing"),
        ("dependencies.0.sha256", "ABC", "dependencies[0].sha256: got 'ABC', expected 64 lower-case"),
        ("dependencies.0", dict(source="http://host/x.pth", destination="snapshot.pth", sha256="0123abcd"),
         "8 digits of sha256 are enough for an https:// source only"),
        ("dependencies.0.size", 4.5, "dependencies[0].size: got 4.5, expected the file's size in bytes"),
        (
            "initial_weights",
            "other.pth",
            "initial_weights: got 'other.pth', expected the destination of a dependency (snapshot.pth)",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(tmp_path, minimal, place, value, message):
    put(minimal, place, value)
    with pytest.raises(TemplateError) as caught:
        load_template(write(tmp_path, minimal))
    assert message in str(caught.value)
    assert "1 problem\n" in str(caught.value)


def test_all_mistakes_are_reported_at_once(tmp_path, minimal):
    put(minimal, "hyper_parameters.basic.batch_size", "eight")
    put(minimal, "config", "../model.py")
    put(minimal, "tensorboard", ...)
    with pytest.raises(TemplateError, match=r"3 problems\n  hyper(.|\n)*\n  config(.|\n)*\n  tensorboard"):
        load_template(write(tmp_path, minimal))


def test_two_dependencies_for_one_destination(tmp_path, minimal):
    minimal["dependencies"] *= 2
    with pytest.raises(TemplateError, match="dependencies: destination occurs more than once: snapshot.pth"):
        load_template(write(tmp_path, minimal))


def test_repeated_keys_are_found_beside_other_mistakes(tmp_path, minimal):
    text = yaml.safe_dump(minimal, sort_keys=False) + "gpu_num: -1\n"
    text = text.replace("    epochs: 3\n", "    epochs: 3\n    epochs: 4\n")
    with pytest.raises(TemplateError) as caught:
        load_template(write(tmp_path, text))
    assert "3 problems" in str(caught.value)
    assert "hyper_parameters.basic.epochs: occurs in lines" in str(caught.value)
    assert "gpu_num: occurs in lines" in str(caught.value)
    assert "gpu_num: got -1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got null, expected a mapping"),
        ("- a\n- b\n", "expected a mapping"),
        ("a: [1\n", "is not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        ("a: &a [*a]\n", "a: unknown key"),
        ("date: 2021-99-99\n", "is not valid YAML"),
        ("1: x\n", "problems"),
    ],
    ids=["empty", "list", "syntax", "python object", "alias of itself", "impossible date", "number as a key"],
)
def test_unusable_yaml(tmp_path, text, message):
    with pytest.raises(TemplateError) as caught:
        load_template(write(tmp_path, text))
    assert message in str(caught.value)


def test_not_text(tmp_path):
    (tmp_path / "template.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(TemplateError, match="is not valid YAML"):
        load_template(tmp_path / "template.yaml")


def test_absent_file(tmp_path):
    with pytest.raises(TemplateError, match=r"template.yaml: cannot be read \(No such file"):
        load_template(tmp_path / "template.yaml")


def test_aliases_that_unfold_to_gigabytes_cost_nothing(tmp_path):
    """Nine levels of nine aliases: 400 million items, in 300 bytes. This took 42 s and gigabytes."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(TemplateError, match="name") as caught:
        load_template(write(tmp_path, "\n".join([*lines, "name: *i"])))
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("source", ["https://example.org/é.pth", "https://example.org/a%00b.pth", "https://example.org/a b.pth",
                                    "https://exa\tmple.org/a.pth", "https://example.org/%1b%5d0;x.pth"])
def test_what_no_url_holds_is_refused_before_anything_is_asked(tmp_path, minimal, source):
    minimal["dependencies"][0]["source"] = source
    with pytest.raises(TemplateError, match="no URL holds"):
        load_template(write(tmp_path, minimal))
