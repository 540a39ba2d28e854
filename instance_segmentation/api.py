"""The one door for the command line and for users: every verb is one function of this module.

    train, evaluate, export, compress  on a work dir
    train_iterations                   on a template, as Segmentoly's and Detectron's scripts do
    instantiate, open_workdir          make and open one
    list_templates, find_template      what there is to choose from
    import_weights                     other tools' weights as a checkpoint
    zoo_models, choose_models, download   models of other tools
    list_published, prepare_published     the templates' published weights, ready to run
    load_model, LoadOptions            get a model as a function: image in, Prediction out
    demo                               run it on images, videos and cameras; show, save and measure
    predict, merge_predictions         run it on a folder or a COCO file; COCO JSON, counts, pictures and crops
    tune                               search for a better recipe
    plan                               weigh an export's accuracy against its time
    benchmark, profile, complexity     time models side by side, by layer; count operations
    find_dataset                       a data set by its name
    check_data, import_data            examine and repair a data set; make COCO of other formats
    check_ir                           explain an exported model, and say who can run it
    split_coco, combine_coco, coco_stats, crop_coco   COCO files before training
    create_script                      a script to read and change; what it calls:
    read_label, image_root, make_workspace, save_weights, write_train_stats, write_test_stats, find_objects
    replay, compare, card              repeat a training; put several side by side; describe a model
    quickstart                         all of it on sample data

Names are imported when they are first used, because the modules behind them need more time than a `--help` may take.
"""

import importlib

HOMES = {
    "CompressResult": "deployment.compressing", "compress": "deployment.compressing",
    "EvaluationResult": "evaluation", "evaluate": "evaluation",
    "ExportResult": "deployment.exporting", "export": "deployment.exporting", "convert_to_onnx": "deployment.exporting",
    "LoadOptions": "inference.exported", "load_model": "inference.model",
    "demo": "demo", "find_dataset": "data.named",
    "merge_predictions": "inference.predicting", "predict": "inference.predicting",
    "TrainResult": "training.train", "train": "training.train", "train_iterations": "training.iterations",
    "SearchResult": "training.tuning", "tune": "training.tuning",
    "Plan": "deployment.planning", "plan": "deployment.planning",
    "list_published": "deployment.pretrained", "prepare_published": "deployment.pretrained",
    "check_data": "data.doctor", "import_data": "data.importing",
    "check_ir": "deployment.checking",
    "ImportResult": "training.importing_weights", "import_weights": "training.importing_weights",
    "Timing": "ir.speed", **dict.fromkeys(("benchmark", "complexity", "profile"), "deployment.benchmarking"),
    "choose_models": "templates.zoo", "download": "templates.zoo", "read_list": "templates.zoo", "zoo_models": "templates.zoo",
    "find_template": "templates.catalogue", "list_templates": "templates.catalogue",
    "instantiate": "templates.workdir", "open_workdir": "templates.workdir",
    **dict.fromkeys(("coco_stats", "combine_coco", "crop_coco", "split_coco"), "data.coco_files"),
    "create_script": "scripting.creating", "image_root": "data.layouts",
    "find_objects": "scripting.finding",
    **dict.fromkeys(("make_workspace", "read_label", "save_weights", "write_test_stats", "write_train_stats"), "scripting.steps"),
    "replay": "training.replaying", "compare": "records.comparing", "card": "records.model_card",
    "quickstart": "quickstart",
}
__all__ = list(HOMES)


def __getattr__(name):
    """Import a public name from its home module."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"instance_segmentation.{HOMES[name]}"), name)


def __dir__():
    return __all__
