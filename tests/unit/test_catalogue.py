"""The packaged templates, and how one is found."""

import ast

import pytest

from instance_segmentation.errors import TemplateError
from instance_segmentation.templates.bases import config_files
from instance_segmentation.templates.catalogue import find_template, list_templates, templates_root
from instance_segmentation.templates.table import read_latencies, readme
from instance_segmentation.templates.workdir import template_root

PACKAGED = list_templates()
NAMES = [template.name for template in PACKAGED]


def test_no_template_is_overlooked():
    assert len(PACKAGED) == sum(1 for path in templates_root().rglob("model.py"))


@pytest.mark.parametrize(
    ("name", "facts"),
    [  # spec of the originals, mmdet's table of RTMDet-Ins: Mp, box AP, mask AP, bytes of the snapshot
        ("efficientnet_b2b-mask_rcnn-480x480", (10.27, 34.1, 29.4, 41453387)),
        ("efficientnet_b2b-mask_rcnn-576x576", (13.27, 35.2, 31.0, 53452621)),
        ("rtmdet-ins_tiny-640x640", (5.64, 40.5, 35.4, None)),
        ("rtmdet-ins_s-640x640", (10.18, 44.0, 38.7, None)),
        ("instance-segmentation-security-1039", (10.27, 33.1, 28.7, 82611565)),
        ("instance-segmentation-security-1040", (13.27, 35.3, 31.3, 106609665)),
        ("instance-segmentation-security-0228", (48.08, 39.0, 33.9, 383874216)),
        ("instance-segmentation-security-0002", (44.4, 40.8, 36.9, 177867103)),
        ("instance-segmentation-security-0091", (97.6, 45.8, 39.7, 390967586)),
        ("instance-segmentation-security-0904", (29.09, 32.9, 29.1, 231881353)),
        ("instance-segmentation-security-0912", (29.09, 35.6, 31.3, 231881353)),
    ],
)
def test_published_facts(name, facts):
    template = find_template(name)
    assert (*map(template.metric, ("size", "bbox", "segm")), template.snapshot and template.snapshot.size) == facts


@pytest.mark.parametrize("template", PACKAGED, ids=NAMES)
def test_name_folder_and_config_agree(template):
    assert template.path.name == template.name
    tree = ast.parse((template.path / template.config).read_text())
    sizes = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "input_size"
    ]
    assert sizes == [tuple(template.input_size)]


def test_table_is_that_of_the_templates():
    """Else run `python -m instance_segmentation.templates.table`."""
    assert (templates_root() / "README.md").read_text("utf-8") == readme(PACKAGED, read_latencies())


@pytest.mark.parametrize("template", PACKAGED, ids=NAMES)
def test_bases_come_along(template):
    files = config_files(template.path / template.config, template_root(template.path))
    assert len(files) > 1
    assert b"../" not in files[template.config]


@pytest.mark.parametrize("given", ["name", "file", "folder"])
def test_find_by(given):
    template = PACKAGED[0]
    where = dict(name=template.name, file=template.path / "template.yaml", folder=template.path)[given]
    assert find_template(where) == template
    assert find_template(where).path == template.path


def test_bare_relative_template_yaml(monkeypatch):
    """The original copied the root of the file system when the path had no folder."""
    monkeypatch.chdir(PACKAGED[0].path)
    assert find_template("template.yaml").path == PACKAGED[0].path


def test_misspelt_name_gets_a_suggestion_and_the_list():
    with pytest.raises(TemplateError) as caught:
        find_template("efficientnet_b2b-maskrcnn-576")
    assert "did you mean efficientnet_b2b-mask_rcnn-576x576?" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


def test_absent_path():
    with pytest.raises(TemplateError, match="no/such/template.yaml: no such template.yaml"):
        find_template("no/such/template.yaml")


def test_problems_of_all_templates_are_listed(template, tmp_path):
    template(files={"family/one/template.yaml": "a: 1", "family/two/template.yaml": "b: 1"})
    with pytest.raises(TemplateError, match=r"(?s)one/template.yaml.*two/template.yaml"):
        list_templates(tmp_path / "templates")


def test_a_name_used_twice(template, tmp_path):
    folder = template()
    template(files={"family/copy/template.yaml": (folder / "template.yaml").read_text()})
    with pytest.raises(TemplateError, match="two templates are named 'tiny'"):
        list_templates(tmp_path / "templates")


@pytest.mark.parametrize("path", ["instance-segmentation-0904", "model_templates/coco/instance-segmentation-0904/template.yaml",
                                  "../somewhere/instance-segmentation-0904"])
def test_a_path_of_another_repository_gets_the_nearest_name(path):
    with pytest.raises(TemplateError, match="did you mean instance-segmentation-security-0904"):
        find_template(path)
