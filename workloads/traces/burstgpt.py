"""BurstGPT: CSV of calls of ChatGPT and GPT-4, columns found by their names.

Published at HPMLL/BurstGPT (Wang et al., "BurstGPT", KDD'25) in two layouts: `Timestamp, Model,
Request tokens, Response tokens, Total tokens, Log Type`, and since release 2.0 with `Session ID`
and `Elapsed time` after the time. Timestamps are seconds; a failed call has 0 response tokens.
"""

from __future__ import annotations

from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.columns import Table
from workloads.traces.parsing.csv_rows import csv_pieces
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.kinds import Decimal, Field, Whole
from workloads.traces.parsing.names import Name
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source
from workloads.traces.parsing.turns import by_the_clock, turns_by_time

NEEDED = ("Timestamp", "Request tokens", "Response tokens")
FIELDS = (
    Field("Timestamp", Decimal()),
    Field("Request tokens", Whole()),
    Field("Response tokens", Whole()),
    Field("Model", Name(), required=False),
    Field("Session ID", Name(), required=False),
)


@READERS.register("burstgpt")
class BurstGptReader:
    """The reader of both layouts.

    The class is the model. Calls of one session are its turns in order of time, and arrive when
    they are recorded to; calls by API have no session. Times are counted from the earliest row.
    """

    title = "BurstGPT CSV"
    layout = f"a header with {', '.join(NEEDED)}"

    def matches(self, head: Head) -> bool:
        """Whether the header has these columns."""
        return set(NEEDED) <= set(head.columns)

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file."""
        bad = BadRows(source.file)
        table = Table(csv_pieces(source, FIELDS, bad), bad)
        time_s, prompt, response = (table.numbers(name) for name in NEEDED)
        reasons = [
            ("Request tokens is 0", prompt == 0),
            ("Response tokens is 0: the call failed", response == 0),
        ]
        rows, dropped = usable_rows(time_s, reasons, source.file)
        model, names = table.classes("Model")
        sessions = None
        if "Session ID" in table:
            session = table.identities("Session ID")[rows]
            if (session >= 0).any():
                sessions = by_the_clock(session, turns_by_time(session))
        return TraceRows(
            arrival_s=time_s[rows] - time_s.min(),
            prompt_tokens=prompt[rows],
            answer_tokens=response[rows],
            class_id=None if model is None else model[rows],
            class_names=names,
            sessions=sessions,
            dropped=dropped,
        )
