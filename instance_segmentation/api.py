"""The one door for the command line and for users: every verb is one function of this module.

Importing it is cheap; torch, mmdet and OpenVINO are imported by the function that needs them.
"""

from instance_segmentation.evaluation import EvaluationResult, evaluate
from instance_segmentation.exporting import export
from instance_segmentation.templates.catalogue import find_template, list_templates
from instance_segmentation.templates.workdir import instantiate, open_workdir
from instance_segmentation.training import TrainResult, train

__all__ = ["EvaluationResult", "TrainResult", "evaluate", "export", "find_template", "instantiate", "list_templates",
           "open_workdir", "train"]
