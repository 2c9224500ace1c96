"""The HTML page: one file that needs no other, plots included."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING

from simulator.metrics.latency import PERCENTS
from simulator.report.rows import (
    CLASS_COLUMNS,
    POOL_COLUMNS,
    blocks,
    class_rows,
    latency_rows,
    load_line,
    pool_rows,
    slo_line,
)

if TYPE_CHECKING:
    from simulator.result import Result


def render_html(result: Result, plots: dict[str, bytes]) -> str:
    """The report of `result` with the PNGs of `plots` (name -> bytes) embedded in it.

    It states only what equal runs share; what varies (machine, versions of libraries, wall time)
    stays in provenance.json.
    """
    from jinja2 import Environment, StrictUndefined

    source = files("simulator.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(source)
    summary = result.summary
    return template.render(
        summary=summary,
        version=result.provenance.get("versions", {}).get("ponder", ""),
        load=load_line(summary),
        slo=slo_line(summary),
        percents=PERCENTS,
        latencies=latency_rows(summary),
        parts={
            "Classes": (CLASS_COLUMNS, class_rows(summary)),
            "Pools": (POOL_COLUMNS, pool_rows(summary)),
        },
        blocks=blocks(summary),
        images={name: base64.b64encode(image).decode() for name, image in plots.items()},
        inputs=result.provenance.get("inputs_sha256", {}),
        experiment=result.experiment_yaml(),
    )
