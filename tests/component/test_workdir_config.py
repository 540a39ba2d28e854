"""A work dir's model.py and its `_base_` folder mean the same to mmengine as the template's."""

import pytest

from instance_segmentation.engine.config import read_config
from instance_segmentation.templates.catalogue import list_templates
from instance_segmentation.templates.workdir import instantiate, open_workdir

pytestmark = pytest.mark.component
PACKAGED = list_templates()


@pytest.mark.parametrize("template", PACKAGED, ids=[template.name for template in PACKAGED])
def test_config_of_a_work_dir_equals_the_templates(template, tmp_path):
    work = open_workdir(instantiate(template, tmp_path / "my wörk dir", load_snapshot=False))
    assert read_config(work.config).to_dict() == read_config(template.path / template.config).to_dict()
    assert work.template.model_dump() == template.model_dump()
