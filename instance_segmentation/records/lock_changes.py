"""What is different between two locks of one run: its beginning's and that of the command which goes on with it."""

# Flags that `settings` say, those of the machine, and those of places, whose content counts
UNSAID = {"epochs", "batch_size", "base_learning_rate", "seed", "input_size", "classes", "num_workers", "gpu_num",
          "nproc_per_node", "tensorboard_dir", "train_ann_files", "train_data_roots", "val_ann_files", "val_data_roots",
          "load_weights", "resume_from"}


def changes(then, now):
    """Sentences about data, template, flags and settings; both arguments as of `run_lock.read_lock`."""
    return [*_data(then["data"], now["data"]), *_template(then["template"], now["template"]),
            *_values(then["settings"], now["settings"], lambda name: name.replace("_", " ")),
            *_values(*({name: value for name, value in lock["flags"].items() if name not in UNSAID} for lock in (then, now)),
                     lambda name: "--" + name.replace("_", "-"))]


def _data(then, now):
    for split in now:
        before, after = then.get(split, []), now[split]
        if len(before) != len(after):
            yield f"{split} data: {len(after)} annotation files instead of {len(before)}"
            continue
        for old, new in zip(before, after, strict=True):
            if old["sha256"] != new["sha256"]:
                yield f"{new['source']}: other {split} annotations than {old['source']} had"
            elif old["images_sha256"] != new["images_sha256"]:
                yield f"{new['source']}: other images ({old['images']} then, {new['images']} now)"


def _template(then, now):
    for name in {**then["files"], **now["files"]}:
        if then["files"].get(name) != now["files"].get(name):
            yield f"{name} of the work dir"


def _values(then, now, spelt):
    for name in {**then, **now}:
        if (then.get(name) or None) != (now.get(name) or None):  # flags that were left out are False or absent
            yield f"{spelt(name)} {_said(now.get(name))}, was {_said(then.get(name))}"


def _said(value):
    return "not given" if value in (None, False) else f"{value:.4g}" if isinstance(value, float) else str(value)
