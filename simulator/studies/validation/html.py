"""The validation report as one HTML page that needs no other file, plots included."""

from __future__ import annotations

import base64
from importlib.metadata import version
from importlib.resources import files

from simulator.studies.validation.errors import HEADLINE
from simulator.studies.validation.study import Validation, relative_error
from simulator.studies.validation.tables import percent, status_line, summary_tables


def render_validation_html(validation: Validation, plots: dict[str, bytes], source: str) -> str:
    """The page; `plots` are PNGs by metric, `source` is the name of the points file."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(
        files("simulator.studies.validation").joinpath("report.html.j2").read_text("utf-8")
    )
    shown = [metric for metric in HEADLINE if metric in validation.metrics]
    return template.render(
        source=source,
        version=version("ponder"),
        status=status_line(validation),
        tables=summary_tables(validation, every_metric=True),
        images={name: base64.b64encode(image).decode() for name, image in plots.items()},
        metrics=shown,
        rows=[
            {
                "point": point,
                "made": made,
                "errors": [
                    percent(
                        relative_error(made.values.get(metric), point.measured.get(metric)),
                        signed=True,
                    )
                    for metric in shown
                ],
            }
            for point, made in zip(validation.points, validation.predictions, strict=True)
        ],
    )
