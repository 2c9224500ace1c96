"""Fit of decode attention: fixed time and bandwidth per piece of work, group and head_dim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles.calibration.attention import (
    SHORTEST,
    axis,
    full_rows,
    read_attention,
    rounded,
    with_defaults,
)
from hardware_profiles.calibration.nonnegative import (
    Term,
    fit_terms,
    hat,
    held_out,
    predict,
    spread,
)
from hardware_profiles.calibration.operation import Entry, Operation, checked, one_source
from hardware_profiles.dtypes import BYTES
from hardware_profiles.kernels.decode_attention import decode_attention_s
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray

GROUP = (1, 2, 8, 64)  # 1 is a kernel of its own: it does not pack the heads of a group
WORK = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
FIXED_S = 1e-5  # its typical size
LEAST_SLOWNESS = 0.2  # of the data sheet's bandwidth: a bound for knots without measurements


def read(tables: Tables) -> pd.DataFrame | None:
    """Decode attention of vLLM's kernels, every sequence of a batch equally long."""
    rows = read_attention(tables, "generation_attention_perf")
    if rows is not None:
        rows["context_tokens"] = rows["batch"] * (rows["step"] + rows["isl"])
    return rows


def fit(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per KV dtype. Rows with uneven lengths are left out."""
    rows = full_rows(rows)
    return [_fit(part, str(dtype), base) for dtype, part in rows.groupby("kv_dtype")]


def check(rows: pd.DataFrame, profile: GpuProfile) -> list[Entry]:
    """How far `profile` is from measured `rows`, with uneven lengths as a class of their own."""
    entries = []
    for dtype, part in with_defaults(rows).groupby("kv_dtype"):
        seconds = []
        for row in part.to_dict("records"):
            fixed, slope = decode_attention_s(
                np.array([row["batch"]]),
                int(row["q_heads"]),
                int(row["kv_heads"]),
                int(row["head_dim"]),
                row["kv_dtype"],
                profile,
                int(row["window_tokens"]),
            )
            tokens = row["context_tokens"]
            if row["window_tokens"]:
                tokens = min(tokens, row["batch"] * row["window_tokens"])
            seconds.append(float(fixed[0] + slope[0] * tokens))
        work = part["batch"] * part["kv_heads"]
        each = part["context_tokens"] / part["batch"]
        classes = [
            f"lengths spread by {ragged:g}" if ragged else _shape_class(*point)
            for ragged, *point in zip(
                part["ragged"], part["head_dim"], each, part["window_tokens"], work, strict=True
            )
        ]
        entries.append(checked("decode_attention", str(dtype), part, np.array(seconds), classes))
    return entries


def _fit(rows: pd.DataFrame, kv_dtype: str, base: GpuProfile) -> Entry:
    rows = rows.reset_index(drop=True)
    work = (rows["batch"] * rows["kv_heads"]).to_numpy()
    group = (rows["q_heads"] / rows["kv_heads"]).to_numpy()
    each = (rows["context_tokens"] / rows["batch"]).to_numpy(dtype=np.float64)
    window = rows["window_tokens"].to_numpy()
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    read_tokens = rows["batch"] * np.where(window > 0, np.minimum(each, window), each)
    token_bytes = 2.0 * rows["kv_heads"] * rows["head_dim"] * BYTES[kv_dtype]
    memory_s = (read_tokens * token_bytes).to_numpy() / base.hardware.memory_bandwidth.si

    groups, works = axis(GROUP, group), axis(WORK, work)
    shape = (len(groups), len(works))
    weights = spread(hat(group, groups), hat(work, works))
    terms = [Term(weights, shape, FIXED_S), Term(weights * memory_s[:, None], shape)]
    judged = (each >= SHORTEST) & (window == 0)
    windowed = (each >= SHORTEST) & (window > 0) & (each > window)
    predicted = np.empty(len(rows))
    tables: dict[float, list[FloatArray]] = {}
    ratios: dict[float, FloatArray] = {}
    folded = True
    dims = sorted(set(rows["head_dim"]))
    # The dimension measured at the most shapes first: it guides the others.
    order = sorted(dims, key=lambda dim: -int(((rows["head_dim"] == dim) & judged).sum()))
    prior: list[FloatArray] | None = None
    for dim in order:
        here = (rows["head_dim"] == dim).to_numpy()
        chosen = here & judged
        parts = fit_terms(_of(terms, chosen), seconds[chosen], prior=prior)
        parts[1] = np.maximum(parts[1], LEAST_SLOWNESS)
        tables[dim] = parts
        predicted[here] = predict(_of(terms, here), parts)
        ratios[dim] = _window(terms, parts, seconds, here & windowed)
        inside = here & (window > 0)
        predicted[inside] = ratios[dim] @ _parts(terms, parts, inside)
        heads = rows.loc[chosen, ["q_heads", "kv_heads"]].to_numpy()
        tested = held_out(_of(terms, chosen), seconds[chosen], heads, prior)
        prior = parts if prior is None else prior
        folded = folded and tested is not None
        if tested is not None:
            predicted[chosen] = tested

    fixed, slowness = (np.stack([tables[dim][i] for dim in dims]) for i in (0, 1))
    values: dict[str, Any] = {
        "head_dim": [int(dim) for dim in dims],
        "group": groups,
        "work": works,
        "fixed": {"unit": "us", "value": rounded(fixed * 1e6)},
        "efficiency": {"unit": "fraction", "value": rounded(1.0 / slowness)},
    }
    if windowed.any():
        values["window"] = {
            name: {"unit": "ratio", "value": rounded(np.array([ratios[dim][i] for dim in dims]))}
            for i, name in enumerate(("fixed", "context"))
        }
    residuals = rows[["head_dim", "q_heads", "kv_heads", "batch"]].assign(
        measured_s=seconds,
        predicted_s=predicted,
        shape_class=[
            _shape_class(*point) for point in zip(rows["head_dim"], each, window, work, strict=True)
        ],
        judged=judged,
    )
    known = rows[judged]
    return Entry(
        op="decode_attention",
        key=kv_dtype,
        values=values,
        source=one_source(rows),
        residuals=residuals,
        range={
            "requests": (known["batch"].min(), known["batch"].max()),
            "q_heads": (known["q_heads"].min(), known["q_heads"].max()),
            "kv_heads": (known["kv_heads"].min(), known["kv_heads"].max()),
            "head_dim": (known["head_dim"].min(), known["head_dim"].max()),
            "context_tokens": (each[judged].min(), each[judged].max()),
        },
        note=f"full attention, {SHORTEST} tokens a request or more"
        + ("; 5-fold cross-validation grouped by (q_heads, kv_heads)" if folded else ""),
    )


def _of(terms: list[Term], chosen: FloatArray) -> list[Term]:
    return [Term(term.design[chosen], term.shape, term.scale) for term in terms]


def _parts(terms: list[Term], parts: list[FloatArray], chosen: FloatArray) -> FloatArray:
    """[2, points]: the fixed and the context part of each point's seconds."""
    return np.stack(
        [term.design @ part.ravel() for term, part in zip(_of(terms, chosen), parts, strict=True)]
    )


def _window(
    terms: list[Term], parts: list[FloatArray], seconds: FloatArray, chosen: FloatArray
) -> FloatArray:
    """How many times longer the two parts take with a window that is full; ones if not measured."""
    if not chosen.any():
        return np.ones(2)
    both = _parts(terms, parts, chosen)
    columns = [Term(part[:, None], (1,)) for part in both]
    return np.array([float(found[0]) for found in fit_terms(columns, seconds[chosen], 0.0)])


def _shape_class(dim: float, each: float, window: float, work: float) -> str:
    name = f"head_dim {dim:.0f}"
    if each < SHORTEST:
        return f"{name}, under {SHORTEST} tokens"
    if window:
        return f"{name}, window {window:.0f}, " + ("inside" if each <= window else "past it")
    size = "under 64" if work < 64 else "64 to 511" if work < 512 else "512 or more"
    return f"{name}, requests x KV heads {size}"


OPERATION = Operation("decode_attention", read, fit, check=check)
