"""ServeGen's populations of clients, read as one day of the requests that they would send.

Published at alibaba/ServeGen: Xiang et al., "ServeGen: Workload Characterization and Generation of
Large Language Model Serving in Production", NSDI'26. Rates, CVs and distributions are published,
requests are not: these are drawn, under seed 0.
"""

from __future__ import annotations

import re

from workloads.traces.base import READERS, TraceRows
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.source import Source

DAY_S = 86_400.0
TABLE = ("client_id", "t_s", "rate_rps", "iat_cv", "pattern", "shape", "scale")
_NUMBER = r"[0-9][0-9.eE+-]*"
CHUNK = re.compile(rf"[0-9]+,{_NUMBER},{_NUMBER},(Gamma|Weibull|),{_NUMBER},{_NUMBER}")


@READERS.register("servegen")
class ServeGenReader:
    """The reader of both layouts.

    A table of all clients' windows has its distributions beside it (`x_pdfs.jsonl.gz` beside
    `x_windows.csv.gz`). Of ServeGen's own files, any `chunk-*-trace.csv` stands for its directory.
    """

    title = "ServeGen population, a day drawn from"
    layout = f"the header {','.join(TABLE)}, or a chunk-*-trace.csv"

    def matches(self, head: Head) -> bool:
        """Whether the file begins with the header of a table, or with a row of a chunk."""
        return head.columns == TABLE or CHUNK.fullmatch(head.first_line) is not None

    def read(self, source: Source) -> TraceRows:
        """Draws the first day of the population under seed 0; every column is `estimated`.

        Raises InputError for malformed files, and if the distributions are missing.
        """
        from workloads.population import PopulationWorkload

        table = source.head.columns == TABLE
        path = source.path if table else source.path.parent
        day = PopulationWorkload(windows_path=str(path)).generate(0, duration_s=DAY_S)
        return TraceRows(
            arrival_s=day.arrival_s,
            prompt_tokens=day.prompt_tokens,
            thinking_tokens=day.thinking_tokens,
            answer_tokens=day.answer_tokens,
            client_id=day.client_id,
            client_names=day.client_names,
            estimated=("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens"),
        )
