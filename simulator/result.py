"""The result of a run: its numbers, its tables, and the directory they are kept in."""

from __future__ import annotations

import secrets
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.exports.directory import check_output_directory, put_in_place
from simulator.metrics.latency import query_table, request_latencies
from simulator.metrics.occupancy import occupancy_by_replica
from simulator.metrics.record import RunRecord
from simulator.metrics.summary import summarise

if TYPE_CHECKING:
    from simulator.report.table import SummaryTable


class Result:
    """What `run` returns.

    `record` is what the engine recorded, `experiment` the resolved experiment as a plain dict,
    `provenance` where it all came from (see `simulator.exports.provenance`).
    """

    def __init__(
        self,
        record: RunRecord,
        experiment: dict[str, Any],
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.record = record
        self.experiment = experiment
        self.provenance: dict[str, Any] = provenance or {}

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request: `metrics.REQUEST_COLUMNS` and its ttft_s, ttfo_s, tpot_s, e2el_s."""
        requests = self.record.requests
        return pd.concat([requests, request_latencies(requests)], axis=1)

    @cached_property
    def queries(self) -> pd.DataFrame:
        """One row per query: `metrics.latency.query_table`, or `metrics.replies.reply_table`."""
        if self.record.replies is not None:
            return self.record.replies
        return query_table(self.record.requests)

    @property
    def timeline(self) -> pd.DataFrame:
        """One row per replica and grid time: `metrics.TIMELINE_COLUMNS`."""
        return self.record.timeline

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """One row per replica: batch size and KV use in the window, see `metrics.occupancy`."""
        return occupancy_by_replica(self.timeline, self.record.window_s)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The summary as in summary.json (see `simulator.metrics.summary`); unknown is None."""
        return summarise(self.record, self.queries)

    def table(self) -> SummaryTable:
        """The final table, for `rich.print` or any rich console."""
        from simulator.report.table import SummaryTable

        return SummaryTable(self.summary)

    def experiment_yaml(self) -> str:
        """The resolved experiment as YAML, keys in the order of the experiment."""
        from simulator.core_yaml import dump_yaml

        return dump_yaml(self.experiment)

    def save(self, directory: str | Path) -> Path:
        """Write the result directory and return its path.

        Files: experiment.yaml, summary.json, requests.parquet, queries.parquet, timeline.parquet,
        provenance.json, report.html, plots/*.png. Equal runs write equal bytes, provenance.json
        excepted. All is written into a sibling directory with a dot before its name and renamed at
        the end, so whatever bears the final name is complete; an earlier result is replaced.
        Raises InputError where `check_output_directory` does, OSError if the disk objects.
        """
        target = check_output_directory(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        partial = target.with_name(f".{target.name}.{token}.partial")
        partial.mkdir()
        try:
            self._write(partial)
            put_in_place(partial, target, target.with_name(f".{target.name}.{token}.old"))
        except BaseException:  # an interrupted run cleans up as well
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return target

    def _write(self, directory: Path) -> None:
        from simulator.exports.parquet import write_parquet
        from simulator.exports.vllm_json import write_json
        from simulator.report.html import render_html
        from simulator.report.plots import render_plots

        (directory / "experiment.yaml").write_text(self.experiment_yaml(), encoding="utf-8")
        write_json(self.summary, directory / "summary.json")
        for name in ("requests", "queries", "timeline"):
            write_parquet(getattr(self, name), directory / f"{name}.parquet")
        plots = render_plots(self)
        (directory / "plots").mkdir()
        for name, image in plots.items():
            (directory / "plots" / f"{name}.png").write_bytes(image)
        (directory / "report.html").write_text(render_html(self, plots), encoding="utf-8")
        write_json(self.provenance, directory / "provenance.json")
