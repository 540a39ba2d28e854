"""What a template.yaml may say, and every problem of one that says something else.

The description of a field is the expectation that an error message quotes.
"""

import difflib
import re
import reprlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, get_args
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from instance_segmentation.errors import TemplateError

# Files that `instantiate` writes itself; a dependency must not replace them.
GENERATED = ("template.yaml", "README.md", "train.py", "eval.py", "export.py", "compress.py", "_base_")
METRIC_KEYS = ("bbox", "segm", "size", "complexity")

Text = Annotated[str, Field(min_length=1, description="a text")]
Count = Annotated[int, Field(ge=1, description="a whole number ≥ 1")]
Device = Literal["CPU", "GPU"]


class Section(BaseModel):
    """Base of all parts: unknown keys, and values that only look like the right type, are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Dependency(Section):
    """A file that the work dir gets: by URL, or from the template's folder."""

    source: Annotated[Text, Field(description="an http(s):// or file:// URL, or a path inside the template's folder")]
    destination: Annotated[Text, Field(description="a path inside the work dir")]
    size: Annotated[int | None, Field(ge=1, description="the file's size in bytes")] = None
    sha256: Annotated[str | None,
                      Field(pattern="^[0-9a-f]{8}([0-9a-f]{56})?$",
                            description="64 lower-case hexadecimal digits, or the first 8 of them")] = None

    @property
    def is_url(self):
        """Whether the source is fetched, not copied from the template's folder."""
        return "://" in self.source

    @field_validator("source")
    @classmethod
    def _source(cls, text):
        if "://" not in text:
            return _inside(text, "the template's folder")
        if urlsplit(text).scheme not in ("http", "https", "file"):
            raise ValueError(f"got '{text}', expected an http://, https:// or file:// URL")
        if not text.isascii() or " " in text or not unquote(text).isprintable():
            raise ValueError(f"got {text!a:.80}, which no URL holds; write other letters as %xx")
        return text

    @field_validator("destination")
    @classmethod
    def _destination(cls, text):
        _inside(text, "the work dir")
        if PurePosixPath(text).parts[0] in GENERATED:
            raise ValueError(f"got '{text}', a name that every work dir uses itself ({', '.join(GENERATED)})")
        return text

    @model_validator(mode="after")
    def _download_is_verifiable(self):
        few_digits = len(self.sha256 or "") == 8  # all that OpenMMLab publishes, in its files' names
        if few_digits and not self.source.startswith("https://"):
            raise ValueError("8 digits of sha256 are enough for an https:// source only; give all 64")
        absent = [name for name in ("size", "sha256") if getattr(self, name) is None and not (name == "size" and few_digits)]
        if self.is_url and absent:
            raise ValueError(f"{' and '.join(absent)} missing; a downloaded file is checked by both")
        return self


class BasicParameters(Section):
    """Defaults of train.py's flags of the same names."""

    batch_size: Count
    base_learning_rate: Annotated[float, Field(gt=0, description="a number > 0")]
    epochs: Count


class HyperParameters(Section):
    """Defaults of train.py."""

    basic: Annotated[BasicParameters, Field(description="a mapping of batch_size, base_learning_rate and epochs")]


class OpenVinoOutput(Section):
    """What export.py writes."""

    input_format: Annotated[Literal["BGR"], Field(description="BGR")]


class OutputFormat(Section):
    """What export.py writes."""

    openvino: Annotated[OpenVinoOutput, Field(description="a mapping with input_format")]


class NncfQuantization(Section):
    """Defaults of compress.py's flags."""

    max_drop: Annotated[float, Field(ge=0, le=1, description="the segm AP that may be lost, a number from 0 to 1")]
    calibration_images: Count


class Optimisations(Section):
    """What compress.py offers."""

    nncf_quantization: Annotated[NncfQuantization, Field(description="a mapping with max_drop and calibration_images")]


class Metric(Section):
    """One published number."""

    display_name: Text
    key: Annotated[Literal[METRIC_KEYS], Field(description="one of " + ", ".join(METRIC_KEYS))]
    unit: Text
    value: Annotated[float | None, Field(ge=0, description="a number ≥ 0, or null where none is published")]


class Template(Section):
    """A validated template.yaml and the folder it lies in (`path`)."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", description="letters, digits, '.', '_' and '-', no spaces")]
    domain: Text
    problem: Text
    framework: Text
    summary: Text
    good_for: Annotated[Text, Field(max_length=60, description="one short phrase, 60 characters at most")]
    annotation_format: Annotated[Literal["COCO"], Field(description="COCO")]
    input_size: Annotated[list[Annotated[int, Field(ge=32, multiple_of=32)]],
                          Field(min_length=2, max_length=2, description="[height, width], two multiples of 32")]
    dependencies: Annotated[list[Dependency], Field(description="a list of files with source and destination")]
    initial_weights: Annotated[str | None, Field(description="the destination of a dependency, or null")]
    training_target: Annotated[list[Device], Field(min_length=1, description="a list of CPU and GPU")]
    inference_target: Annotated[list[Device], Field(min_length=1, description="a list of CPU and GPU")]
    hyper_parameters: Annotated[HyperParameters, Field(description="a mapping with basic")]
    output_format: Annotated[OutputFormat, Field(description="a mapping with openvino")]
    optimisations: Annotated[Optimisations | None,
                             Field(description="a mapping with nncf_quantization, or null where compress.py is not offered")]
    metrics: Annotated[list[Metric], Field(description="a list of " + ", ".join(METRIC_KEYS))]
    gpu_num: Annotated[int, Field(ge=0, description="a whole number ≥ 0")]
    config: Annotated[str, Field(description="the name of a .py file beside template.yaml")]
    tensorboard: Annotated[bool, Field(description="true or false")]
    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self):
        """Folder of template.yaml."""
        return self._path

    def metric(self, key):
        """The published value of one of METRIC_KEYS, or None."""
        return next(metric.value for metric in self.metrics if metric.key == key)

    @property
    def snapshot(self):
        """The dependency with the weights to start from, or None."""
        return next((item for item in self.dependencies if item.destination == self.initial_weights), None)

    @field_validator("config")
    @classmethod
    def _config_is_a_plain_name(cls, text):
        _inside(text, "the template's folder")
        if "/" in text or not text.endswith(".py") or text in GENERATED:
            raise ValueError(f"got '{text}', expected the name of a .py file beside template.yaml, like model.py")
        return text

    @field_validator("dependencies")
    @classmethod
    def _destinations_differ(cls, items):
        return _all_differ(items, "destination")

    @field_validator("metrics")
    @classmethod
    def _metrics_are_complete(cls, items):
        absent = [key for key in METRIC_KEYS if key not in [item.key for item in items]]
        if absent:
            raise ValueError(f"{', '.join(absent)} missing; a value that is not published is null")
        return _all_differ(items, "key")

    @field_validator("initial_weights")
    @classmethod
    def _initial_weights_are_delivered(cls, text, info):
        offered = [item.destination for item in info.data.get("dependencies", [])]
        if text is not None and "dependencies" in info.data and text not in offered:
            raise ValueError(f"got '{text}', expected the destination of a dependency "
                             f"({', '.join(offered) or 'none'}) or null")
        return text


def load_template(path):
    """Read and check a template.yaml.

    Raises:
        TemplateError: The file cannot be read, or lists every problem with its place in the YAML.
    """
    path = Path(path)
    content, problems = _read_yaml(path)
    try:
        template = Template.model_validate(content)
    except ValidationError as error:
        problems += [_describe(item) for item in error.errors(include_url=False)]
    if problems:
        raise TemplateError(f"{path}: {len(problems)} problem{'s' * (len(problems) > 1)}\n  " + "\n  ".join(problems))
    template._path = path.resolve().parent
    return template


def _inside(text, place):
    """Return a relative path that cannot leave its folder, else raise ValueError."""
    parts = PurePosixPath(text).parts
    if not parts or text.startswith(("/", "~")) or ".." in parts or re.search(r"[\\\x00-\x1f]|^\w:", text):
        raise ValueError(f"got '{text}', expected a relative path inside {place}, without '..'")
    return text


def _all_differ(items, key):
    """Return the items, or raise ValueError when two have the same value of `key`."""
    values = [getattr(item, key) for item in items]
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{key} occurs more than once: {', '.join(twice)}")
    return items


def _read_yaml(path):
    """Parse without building Python objects; returns the content and sentences about repeated keys."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8")
        reader = loader(text)
        node = reader.get_single_node()
        content = reader.construct_document(node) if node else None
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TemplateError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise TemplateError(f"{path}: got {_short(content)}, expected a mapping with name, config, metrics and so on")
    return content, list(_repeated_keys(node, "", set()))


def _repeated_keys(node, place, seen):
    """Say where a mapping holds a key twice: YAML readers silently keep the last."""
    if id(node) in seen:  # an alias; also ends recursive ones
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, f"{place}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines = {}
        for key, value in node.value:
            inner = f"{place}.{key.value}".lstrip(".")
            if str(key.value) in lines:
                yield f"{inner}: occurs in lines {lines[str(key.value)]} and {key.start_mark.line + 1}; remove one"
            lines[str(key.value)] = key.start_mark.line + 1
            yield from _repeated_keys(value, inner, seen)


def _describe(item):
    """One pydantic error as `place: got …, expected …`."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    section, expected = _look_up(item["loc"])
    if item["type"] == "value_error":
        return f"{place}: {item['ctx']['error']}"
    if item["type"] == "missing":
        return f"{place}: missing, expected {expected}"
    if item["type"] == "extra_forbidden":
        known = list(section.model_fields)
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"{place}: unknown key; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}")
    return f"{place}: got {_short(item['input'])}, expected {expected}"


def _look_up(loc):
    """The innermost Section on the way to `loc`, and the description of the innermost field."""
    section, expected, inner = Template, "a mapping", Template
    for part in loc:
        if isinstance(part, int):
            expected = "a mapping" if inner and inner is not section else expected
            continue
        section = inner or section
        field = section.model_fields.get(part)
        if field is None:
            break
        expected, inner = field.description, _section_of(field.annotation)
    return section, expected


def _section_of(annotation):
    """The Section that an annotation is, or is a list of; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_of, get_args(annotation))), None)


_SHORTENED = reprlib.Repr()
_SHORTENED.maxlevel, _SHORTENED.maxstring, _SHORTENED.maxother = 3, 80, 80


def _short(value):
    """A value for an error message: YAML's null, and long ones cut."""
    # reprlib looks no deeper than it shows: YAML's aliases make gigabytes of text of a few hundred bytes
    text = "null" if value is None else _SHORTENED.repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
