"""Votes and reward models on AIME and MATH-500: one cell fitted, the others predicted.

Free parameters are rho (how alike attempts at one problem are), fitted to one majority cell, and
d' of each verifier, fitted to its cell with the fewest samples. The dominant wrong answer has a
share of 0.4 of all wrong ones (assumed). All else is closed form, nothing is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.quality import (
    OutcomeVerifier,
    best_odds,
    fit_d_prime,
    majority,
    right_pmf,
    selected_accuracy,
)
from simulator.studies.articles.base import (
    FULL_ARC,
    NEW_AXIS,
    Row,
    Study,
    close_points,
    graded,
    percent,
)

DOMINANT_SHARE = 0.4
MEASURED_RHO = 0.66


@dataclass(frozen=True)
class Table:
    """A table of an article: accuracies by number of samples, the first of each kind fitted."""

    benchmark: str
    single: float
    votes: tuple[tuple[int, float], ...]
    prm: tuple[tuple[int, float], ...]
    orm: tuple[tuple[int, float], ...] = ()


AIME = Table("AIME 2024", 0.71, votes=((8, 0.87), (4, 0.82)), prm=((4, 0.85), (8, 0.91)))
MATH = Table(
    "MATH-500",
    0.74,
    votes=((16, 0.85), (64, 0.90)),
    prm=((16, 0.91), (64, 0.94)),
    orm=((16, 0.87),),
)


def fitted_rho(table: Table, dominant_share: float = DOMINANT_SHARE) -> float:
    """The rho at which a vote is as accurate as in the first cell of `votes`."""
    from scipy.optimize import brentq

    n, said = table.votes[0]

    def miss(rho: float) -> float:
        return float(majority(n, table.single, rho, dominant_share)) - said

    return float(brentq(miss, 1e-6, 0.95))  # type: ignore[no-untyped-call]


def best_of(n: int, table: Table, rho: float, d_prime: float) -> float:
    """Accuracy of the best of n by a verifier that nothing lures."""
    return float(selected_accuracy(best_odds(n, d_prime), table.single, rho))


def coverage(n: int, accuracy: float, rho: float) -> float:
    """Part of the problems that one of n attempts solves: what a perfect verifier reaches."""
    return float(1.0 - right_pmf(n, accuracy, rho)[0])


def _rows() -> list[Row]:
    return [*_table_rows(AIME), *_table_rows(MATH)]


def _table_rows(table: Table) -> list[Row]:
    rho = fitted_rho(table)
    n, said = table.votes[0]
    rows = [
        _fitted(f"{table.benchmark}: majority of {n}", said, f"rho {rho:.2f}, dominant share 0.4")
    ]
    for n, said in table.votes[1:]:
        found = float(majority(n, table.single, rho, DOMINANT_SHARE))
        note = "predicted from the fitted cell"
        if not close_points(found, said):
            note += f"; {_if_wrong_answers_scatter(table, n)}"
        claim = f"{table.benchmark}: majority of {n}"
        rows.append(_predicted(claim, said, found, table.single, note))
    for name, cells in (("ORM", table.orm), ("PRM", table.prm)):
        if not cells:
            continue
        n, said = cells[0]
        d_prime = fit_d_prime(said, n, table.single, rho, 0.0)
        auc = OutcomeVerifier(d_prime).auc
        most = coverage(n, table.single, MEASURED_RHO)
        rows.append(
            _fitted(
                f"{table.benchmark}: best of {n} by {name}",
                said,
                f"d' {d_prime:.2f}, AUC {auc:.2f}; at rho {MEASURED_RHO:g}, as measured, a perfect"
                f" verifier would reach {percent(most)}",
            )
        )
        for n, said in cells[1:]:
            found = best_of(n, table, rho, d_prime)
            rows.append(
                _predicted(f"{table.benchmark}: best of {n} by {name}", said, found, table.single)
            )
    return rows


def _fitted(claim: str, said: float, note: str) -> Row:
    return Row(claim, percent(said, 0), percent(said, 0), "fitted", note)


def _predicted(
    claim: str, said: float, found: float, single: float, note: str = "predicted from fitted cells"
) -> Row:
    verdict = graded(close_points(found, said), found > single)
    return Row(claim, percent(said, 0), percent(found), verdict, note)


def _if_wrong_answers_scatter(table: Table, n: int) -> str:
    """What the larger vote gives if no two wrong answers agree, and why that is no way out."""
    rho = fitted_rho(table, dominant_share=0.0)
    found = float(majority(n, table.single, rho, 0.0))
    samples = table.prm[0][0]
    most = coverage(samples, table.single, rho)
    return (
        f"if wrong answers never agree {percent(found)}, at rho {rho:.2f}, but then no verifier"
        f" gets above {percent(most)} with {samples} samples"
    )


STUDY = Study("verification", "Verification on AIME and MATH-500", f"{NEW_AXIS}; {FULL_ARC}", _rows)
