"""Predict every row of a points file, in several processes if that is quicker."""

from __future__ import annotations

import csv
import fnmatch
import io
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.profile import GpuProfile
from simulator.errors import InputError
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.points import Point
from simulator.studies.validation.predict import Prediction, predict

Progress = Callable[[int, int], None]

_ROWS_PER_TASK = 6
# A process takes seconds to start, a row some hundredths of one.
_ROWS_WORTH_A_PROCESS = 100


@dataclass(frozen=True)
class Validation:
    """Rows beside what ponder makes of them; `metrics` are the measured columns of the file."""

    points: Sequence[Point]
    predictions: Sequence[Prediction]
    metrics: tuple[str, ...]


def select(points: Sequence[Point], pattern: str) -> list[Point]:
    """The rows whose `src/id` matches a shell pattern; without a slash, whose source or id does.

    Raises InputError if there are none.
    """
    chosen = [
        point
        for point in points
        if fnmatch.fnmatchcase(f"{point.src}/{point.id}", pattern)
        or ("/" not in pattern and fnmatch.fnmatchcase(point.src, pattern))
        or ("/" not in pattern and fnmatch.fnmatchcase(point.id, pattern))
    ]
    if not chosen:
        sources = ", ".join(sorted({point.src for point in points}))
        raise InputError(f"no row matches {pattern!r}; sources: {sources}")
    return chosen


def validate(
    points: Sequence[Point],
    metrics: tuple[str, ...],
    histograms: Histograms | None = None,
    *,
    gpus: Mapping[str, GpuProfile] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Predict all `points`; the result is the same whatever the number of `workers`.

    `workers` None takes one for every hundred rows, up to the number of CPUs. `gpus` replaces
    profiles of the catalogue by name. `progress(rows done, rows)` is called after each.
    """
    if workers is None:
        workers = max(1, min(_cpus(), len(points) // _ROWS_WORTH_A_PROCESS))
    done: dict[int, Prediction] = {}
    if workers == 1:
        for index in _by_configuration(points):
            done[index] = predict(points[index], metrics, histograms, gpus)
            if progress is not None:
                progress(len(done), len(points))
    else:
        _in_processes(points, (metrics, histograms, gpus), workers, done, progress)
    return Validation(points, [done[index] for index in range(len(points))], metrics)


def report_csv(validation: Validation) -> str:
    """One line a row, in the file's order: id, status, reason, then two columns a metric.

    `<metric>_pred` is the prediction, in the metric's unit, wherever there is one;
    `<metric>_rel_err` is prediction / measurement - 1 where the row was measured too.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{metric}_{kind}" for metric in validation.metrics for kind in ("pred", "rel_err")]
    writer.writerow(["id", "status", "reason", *columns])
    for point, prediction in zip(validation.points, validation.predictions, strict=True):
        cells = []
        for metric in validation.metrics:
            predicted = prediction.values.get(metric)
            error = relative_error(predicted, point.measured.get(metric))
            cells += [_cell(predicted), _cell(error)]
        writer.writerow([point.id, prediction.status, prediction.reason, *cells])
    return text.getvalue()


def relative_error(predicted: float | None, measured: float | None) -> float | None:
    """predicted / measured - 1; None where either is missing or nothing was measured."""
    return None if predicted is None or not measured else predicted / measured - 1.0


def write_report(validation: Validation, path: str | Path) -> None:
    """Write `report_csv` to a file."""
    Path(path).write_text(report_csv(validation), encoding="utf-8")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _by_configuration(points: Sequence[Point]) -> list[int]:
    """Rows of one server configuration one after the other: they share its cost table."""

    def configuration(index: int) -> tuple[str, ...]:
        point = points[index]
        sizes = (point.gpus, point.tp, point.max_num_seqs, point.max_num_batched_tokens)
        return (point.model, point.hardware, point.weights, point.key_settings, str(sizes))

    return sorted(range(len(points)), key=lambda index: (configuration(index), index))


_Context = tuple[tuple[str, ...], Histograms | None, Mapping[str, GpuProfile] | None]
_context: _Context


def _in_processes(
    points: Sequence[Point],
    context: _Context,
    workers: int,
    done: dict[int, Prediction],
    progress: Progress | None,
) -> None:
    order = _by_configuration(points)
    tasks = [order[i : i + _ROWS_PER_TASK] for i in range(0, len(order), _ROWS_PER_TASK)]
    # Not forked: threads of numerical libraries do not survive that.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_start, initargs=(context,)) as pool:
        try:
            futures = {pool.submit(_predict, [points[i] for i in task]): task for task in tasks}
            for future in as_completed(futures):
                done.update(zip(futures[future], future.result(), strict=True))
                if progress is not None:
                    progress(len(done), len(points))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start(context: _Context) -> None:
    global _context
    _context = context


def _predict(points: list[Point]) -> list[Prediction]:
    return [predict(point, *_context) for point in points]


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1
