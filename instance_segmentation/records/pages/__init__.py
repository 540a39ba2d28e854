"""The pages that are written from measurements: their templates lie beside this file."""

import re
from pathlib import Path

from instance_segmentation.errors import MissingExtraError
from instance_segmentation.report import number


def render(template, **values):
    """Fill a template of this folder.

    Args:
        template: `report.html`, in which every value is escaped, or `card.md`, in which the filter `md` does that.
        values: What it shows; one that is missing is an error.

    Returns:
        The page's text.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("train", "Writing a page") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters.update(number=number, md=markdown)
    return environment.get_template(template).render(**values)


def markdown(text):
    """A name as it stands in Markdown's tables: on one line, nothing in it means anything."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(str(text).split()))
