"""Which ways to spend test-time compute are worth it: accuracy, cost and time under one load."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import yaml

from simulator.config.loader import load_experiment
from simulator.config.overrides import parse_override
from simulator.errors import InputError, Problem
from simulator.runner import run

if TYPE_CHECKING:
    from simulator.result import Result

MAX_CHOICES = 200


@dataclass(frozen=True)
class Choice:
    """One way to run the experiment, and what came of it.

    overrides: what was changed, as `--set` takes it. accuracy and its bootstrap interval are shares
    of all measured queries: one that was unfinished when the run ended counts as not answered.
    cost_usd_per_query: the cluster as it is, by the queries that it answered. at_capacity: the same
    if it were as busy as it can be with such queries, which is what more of them cost. Times in
    seconds, over measured queries that were answered. dominated_by: the label of a choice that is
    at least as good in all of accuracy, cost at capacity and p99 tta, and better in one; None if
    there is none.
    """

    label: str
    overrides: tuple[str, ...]
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    requests_per_query: float
    tokens_per_query: float
    cost_usd_per_query: float | None
    cost_usd_per_query_at_capacity: float | None
    cost_usd_per_correct_answer: float | None
    mean_tta_s: float | None
    p99_tta_s: float | None
    verdict: str
    dominated_by: str | None = None


def variants(vary: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of `path.to.key=[value, ...]`, each as overrides `path.to.key=value`.

    Raises `InputError` for a text that is not of this form, or more than `MAX_CHOICES`.
    """
    axes, problems = [], []
    fields: list[str] = []
    for text in vary:
        option = f"--vary {text}"
        try:
            override = parse_override(text)
        except InputError as error:
            problems += [replace(p, file=option) for p in error.problems]
            continue
        if not isinstance(override.value, list) or not override.value:
            problems.append(Problem("must have the form path.to.key=[value, value ...]", option))
            continue
        field = text.partition("=")[0].strip()
        if field in fields:
            problems.append(Problem(f"{field} is varied already: give one list", option))
            continue
        fields.append(field)
        axes.append([f"{field}={_flow(value)}" for value in override.value])
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > MAX_CHOICES:
        problems.append(Problem(f"{count:,} combinations; {MAX_CHOICES} are the most", "--vary"))
    if problems:
        raise InputError(problems)
    return list(itertools.product(*axes))


def frontier(
    experiment: str | PathLike[str],
    vary: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Choice]:
    """Run `experiment` in all ways that `vary` gives (see `variants`), under one seed.

    All see the same queries, and the same luck of attempts at them. `progress(done, total, label)`
    is called before each run. Raises `InputError` for bad input, before any run, and where nobody
    knows what answers are worth.
    """
    ways = variants(vary)
    loaded = [load_experiment(experiment, (*overrides, *way), seed) for way in ways]
    for each in loaded:
        if all(pool.quality is None for pool in each.pools.values()):
            message = "a frontier needs to know how often answers are right: give pools `quality`"
            raise InputError(Problem(message, field="pools"))
    choices = []
    for number, (way, each) in enumerate(zip(ways, loaded, strict=True)):
        label = _label(way)
        if progress is not None:
            progress(number, len(ways), label)
        choices.append(_choice(label, way, run(each)))
    return judged(choices)


def judged(choices: Sequence[Choice]) -> list[Choice]:
    """The choices, each with the one that dominates it, if any: the most accurate of those."""
    found = []
    for choice in choices:
        better = [other for other in choices if _dominates(other, choice)]
        best = max(better, key=lambda other: other.accuracy, default=None)
        found.append(replace(choice, dominated_by=None if best is None else best.label))
    return found


def table(choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """The choices as plain rows, for CSV and JSON."""
    return [{**asdict(choice), "overrides": list(choice.overrides)} for choice in choices]


def _dominates(other: Choice, choice: Choice) -> bool:
    mine, theirs = _goods(choice), _goods(other)
    at_least = all(a >= b for a, b in zip(theirs, mine, strict=True))
    return at_least and theirs != mine


def _goods(choice: Choice) -> tuple[float, float, float]:
    """What one wants much of; what is not known, as of an overloaded cluster, is the worst."""
    cost, tta = choice.cost_usd_per_query_at_capacity, choice.p99_tta_s
    slow = tta is None or choice.verdict == "OVERLOADED"
    worst = float("-inf")
    return (
        choice.accuracy,
        worst if cost is None else -cost,
        worst if slow or tta is None else -tta,
    )


def _choice(label: str, way: tuple[str, ...], result: Result) -> Choice:
    summary, queries = result.summary, result.queries
    measured = queries[queries["measured"].to_numpy(bool)]
    over = float(measured["answer"].notna().mean()) if "answer" in measured else 0.0
    low, high = summary["accuracy_ci95"] or (0.0, 0.0)
    requests = float(measured["requests"].mean())
    return Choice(
        label=label,
        overrides=way,
        accuracy=(summary["accuracy"] or 0.0) * over,
        accuracy_low=low * over,
        accuracy_high=high * over,
        requests_per_query=requests,
        tokens_per_query=float(measured["generated_tokens"].mean()),
        cost_usd_per_query=summary["cost_usd_per_completed_query"],
        cost_usd_per_query_at_capacity=cost_at_capacity_usd(summary, requests),
        cost_usd_per_correct_answer=summary["cost_usd_per_correct_answer"],
        mean_tta_s=_seconds(summary["mean_tta_ms"]),
        p99_tta_s=_seconds(summary["p99_tta_ms"]),
        verdict=summary["verdict"],
    )


def cost_at_capacity_usd(summary: dict[str, Any], requests_per_query: float) -> float | None:
    """What a query costs on a cluster that is as busy as it can be, US dollars."""
    capacity_rps, seconds = summary["capacity_rps"], summary["duration"]
    if not capacity_rps or not seconds or not requests_per_query:
        return None
    return float(summary["window_cost_usd"] / seconds * requests_per_query / capacity_rps)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _label(way: tuple[str, ...]) -> str:
    """A name for a point: what is special about it, without the paths that all share."""
    words = []
    for text in way:
        field, _, value = text.partition("=")
        given = yaml.safe_load(value)
        if isinstance(given, dict):
            name = next((key for key in ("kind", "model") if key in given), None)
            rest = ", ".join(f"{k} {_plain(v)}" for k, v in given.items() if k != name)
            kind = field if name is None else str(given[name])
            words.append(f"{kind} ({rest})" if rest else kind)
        elif isinstance(given, str):
            words.append(given)
        else:
            words.append(f"{field.rpartition('.')[2]} {_plain(given)}")
    return ", ".join(words)


def _plain(value: Any) -> str:
    return str(value).replace("'", "") if isinstance(value, dict) else str(value)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").strip()
