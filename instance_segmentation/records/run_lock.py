"""run.lock.yaml: what a training was made of, so that it can be repeated, and what is different now. Needs no torch."""

import ast
import hashlib
import os
from datetime import datetime, timezone
from pathlib import Path

import yaml

from instance_segmentation.errors import TrainingError
from instance_segmentation.records import provenance
from instance_segmentation.report import file_record, progress, write_text
from instance_segmentation.templates.bases import config_files
from instance_segmentation.templates.workdir import template_root

NAME = "run.lock.yaml"
HEADER = "# What this run was made of. `instseg replay FOLDER` repeats it, `instseg card FOLDER` describes it.\n"
PATHS = ("train_ann_files", "train_data_roots", "val_ann_files", "val_data_roots", "config", "tensorboard_dir")
BEGINNINGS = ("load_weights", "resume_from")
NOT_REPEATED = (*BEGINNINGS, "save_checkpoints_to", "search")  # a search's trial is repeated as a training of its own


def write_lock(work, flags, cfg):
    """Write a run's lock into its output folder.

    Args:
        work: The opened work dir.
        flags: Arguments of `train`.
        cfg: The run's Config, ready to train.
    """
    output, optimizer = Path(cfg.work_dir), cfg.optim_wrapper.optimizer
    weights, origin = _origin(cfg)
    flags = _plain_flags(flags) | origin | dict(batch_size=cfg.train_dataloader.batch_size, seed=cfg.randomness.seed)
    settings = dict(epochs=cfg.train_cfg.max_epochs, batch_size=flags["batch_size"], optimizer=optimizer.type,
                    learning_rate=optimizer.lr, input_size=list(cfg.input_size), seed=flags["seed"],
                    classes=list(cfg.instseg.classes))
    content = dict(made=datetime.now(timezone.utc).isoformat(timespec="seconds"), command=provenance.command(),
                   work_dir=os.path.relpath(work.path, output), template=describe_template(work, flags),
                   data=describe_data(flags), weights=weights, flags=flags, settings=settings,
                   versions=provenance.versions(), machine=provenance.machine())
    _write(output / NAME, content)


def _write(path, content):
    write_text(path, HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))


def _origin(cfg):
    """The record of the weights that a run began with, and the flag that names them.

    A run that goes on began where its lock says; without one, at the checkpoint that it goes on from.
    """
    if not cfg.load_from:
        return None, {}
    earlier = read_lock(Path(cfg.load_from).parent) if cfg.resume else None
    if earlier:
        return earlier["weights"], {key: value for key, value in earlier["flags"].items() if key in BEGINNINGS}
    return file_record(cfg.load_from), {"resume_from" if cfg.resume else "load_weights": os.path.abspath(cfg.load_from)}


def read_lock(folder):
    """The lock of the run in a folder, None when there is none.

    Raises:
        TrainingError: It is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("made", "command", "work_dir", "template", "data", "weights", "flags", "settings",
                                              "versions", "machine")}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: is damaged ({' '.join(str(error).split())}); nothing can be said about how this run was "
                            "made") from error


def moved_lock(path, folder):
    """Correct a lock that was moved here from `folder`: it names its work dir relative to where it lies. Damaged ones stay."""
    try:
        content = read_lock(path.parent)
    except TrainingError:
        return
    content["work_dir"] = os.path.relpath(Path(folder) / content["work_dir"], path.parent)
    _write(path, content)


def _plain_flags(flags):
    """Flags that were given, as YAML holds them: absolute paths; config values as Python writes them, which tells tuples."""
    plain = {key: value for key, value in flags.items() if value is not None and key not in NOT_REPEATED}
    for key in filter(plain.get, PATHS):
        value = plain[key]
        plain[key] = [os.path.abspath(item) for item in value] if isinstance(value, (list, tuple)) else os.path.abspath(value)
    if "cfg_options" in plain:
        plain["cfg_options"] = {key: repr(value) for key, value in plain["cfg_options"].items()}
    if "input_size" in plain:
        plain["input_size"] = list(plain["input_size"])
    return plain


def as_options(flags):
    """A lock's flags as arguments of `train`.

    A lock comes with a folder, perhaps from a stranger: whether a checkpoint may run code, and which program is the config,
    are not for it to say.
    """
    options = {key: value for key, value in flags.items() if key not in ("trust_checkpoint", "config")}
    if "cfg_options" in options:
        options["cfg_options"] = {key: ast.literal_eval(value) for key, value in options["cfg_options"].items()}
    return options


def relocated(lock, moves):
    """A lock whose files lie elsewhere now.

    Args:
        lock: As of `read_lock`.
        moves: Pairs (folder or file then, now); the first that a path begins with counts.
    """
    def now(path):
        return next((str(Path(new) / Path(path).relative_to(old)) for old, new in moves if Path(path).is_relative_to(old)), path)

    flags = dict(lock["flags"])
    for key in filter(flags.get, (*PATHS, *BEGINNINGS)):
        flags[key] = [now(path) for path in flags[key]] if isinstance(flags[key], list) else now(flags[key])
    weights = lock["weights"] and {**lock["weights"], "source": now(lock["weights"]["source"])}
    return {**lock, "flags": flags, "weights": weights}


def describe_template(work, flags):
    """Name of the template, and sha256 of template.yaml, the config and its bases: name in the work dir → digest."""
    config = Path(flags.get("config") or work.config)
    files = {"template.yaml": (work.path / "template.yaml").read_bytes(), **config_files(config, template_root(config.parent))}
    return dict(name=work.template.name, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def describe_data(flags):
    """`provenance.data_records` of both splits."""
    with progress("hashing images") as hashed:
        return {split: provenance.data_records(flags[f"{split}_ann_files"], flags[f"{split}_data_roots"], hashed)
                for split in ("train", "val")}


def differences(lock, work):
    """Sentences about what is not as it was when the lock was written: template, weights, data. Versions see `other_versions`."""
    found, files = [], describe_template(work, lock["flags"])["files"]
    for name, digest in lock["template"]["files"].items():
        if files.get(name) != digest:
            found.append(f"{name} of {work.path} {'has changed' if name in files else 'is gone'}")
    found += [f"{name} of {work.path} is new" for name in files if name not in lock["template"]["files"]]
    if lock["weights"]:
        found += _file_differences(lock["weights"])
    for split, now in describe_data(lock["flags"]).items():
        then = lock["data"][split]
        if len(then) != len(now):
            found.append(f"{split} data: {len(now)} annotation files instead of {len(then)}")
            continue
        for before, after in zip(then, now, strict=True):
            if before["sha256"] != after["sha256"]:
                found.append(f"{after['source']}: the annotations have changed")
            if before["images_sha256"] != after["images_sha256"]:
                found.append(f"{after['source']}: the images have changed ({before['images']} then, {after['images']} now)")
    return found


def _file_differences(then):
    path = Path(then["source"])
    if not path.is_file():
        return [f"{path} is gone"]
    return [] if file_record(path)["sha256"] == then["sha256"] else [f"{path} has changed"]


def other_versions(lock):
    """Packages whose version is not the lock's, as `torch 2.12.0 → 2.13.0`."""
    now = provenance.versions()
    return [f"{name} {lock['versions'].get(name, 'absent')} → {now.get(name, 'absent')}"
            for name in {**lock["versions"], **now} if lock["versions"].get(name) != now.get(name)]
