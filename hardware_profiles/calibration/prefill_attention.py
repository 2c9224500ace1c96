"""Fit of prefill attention: fixed time, memory passes and FLOP/s per group, heads and head_dim."""

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
from hardware_profiles.dtypes import ACTIVATION_BYTES
from hardware_profiles.kernels.prefill_attention import prefill_attention_s
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray

GROUP = (1, 8, 64)
Q_HEADS = (1, 4, 16, 64)
FIXED_S = 1e-5  # its typical size
SMOOTHING = 0.06
LEAST = 0.05  # passes and slowness at knots without measurements are at least this


def read(tables: Tables) -> pd.DataFrame | None:
    """Causal attention of whole prompts by vLLM's kernels, all prompts of a batch equally long."""
    rows = read_attention(tables, "context_attention_perf")
    if rows is not None:
        rows = rows[rows["step"] == 0].reset_index(drop=True)
        rows["context_tokens"] = rows["batch"] * rows["isl"]
    return rows


def fit(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per KV dtype, from whole prompts: rows with cached context are left out."""
    rows = full_rows(rows)
    rows = rows[rows["context_tokens"] == rows["batch"] * rows["isl"]]
    return [_fit(part, str(dtype), base) for dtype, part in rows.groupby("kv_dtype")]


def check(rows: pd.DataFrame, profile: GpuProfile) -> list[Entry]:
    """How far `profile` is from measured `rows`, chunks after cached context among them."""
    entries = []
    for dtype, part in with_defaults(rows).groupby("kv_dtype"):
        seconds = []
        for row in part.to_dict("records"):
            fixed, token_s, context_s, pair_s = prefill_attention_s(
                int(row["q_heads"]),
                int(row["kv_heads"]),
                int(row["head_dim"]),
                row["kv_dtype"],
                profile,
                int(row["window_tokens"]),
            )
            new, context = float(row["isl"]), row["context_tokens"] / row["batch"]
            keys, pairs = context, new * (context - (new - 1) / 2)
            if row["window_tokens"]:
                keys = min(keys, row["window_tokens"] + new - 1)
                seen = context - new + np.arange(1, int(new) + 1)
                pairs = float(np.minimum(seen, row["window_tokens"]).sum())
            seconds.append(
                fixed + row["batch"] * (token_s * new + context_s * keys + pair_s * pairs)
            )
        tokens = part["batch"] * part["isl"]
        cached = part["context_tokens"] > tokens
        classes = [
            f"head_dim {point[0]:.0f}, after cached context" if later else _shape_class(*point)
            for later, *point in zip(
                cached, part["head_dim"], part["isl"], part["window_tokens"], tokens, strict=True
            )
        ]
        entries.append(checked("prefill_attention", str(dtype), part, np.array(seconds), classes))
    return entries


def _fit(rows: pd.DataFrame, kv_dtype: str, base: GpuProfile) -> Entry:
    rows = rows.reset_index(drop=True)
    q_heads = rows["q_heads"].to_numpy()
    group = (rows["q_heads"] / rows["kv_heads"]).to_numpy()
    isl = rows["isl"].to_numpy(dtype=np.float64)
    window = rows["window_tokens"].to_numpy()
    tokens = rows["batch"].to_numpy() * isl
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    token_bytes = 2.0 * (rows["q_heads"] + rows["kv_heads"]) * rows["head_dim"] * ACTIVATION_BYTES
    memory_s = (tokens * token_bytes).to_numpy() / base.hardware.memory_bandwidth.si
    reach = np.where(window > 0, np.minimum(isl, window), isl)  # keys the last query sees
    pairs = rows["batch"].to_numpy() * (reach * (reach + 1) / 2 + (isl - reach) * reach)
    pair_s = (4.0 * rows["q_heads"] * rows["head_dim"]).to_numpy() / base.hardware.peak_bf16.si

    groups, heads = axis(GROUP, group), axis(Q_HEADS, q_heads)
    shape = (len(groups), len(heads))
    weights = spread(hat(group, groups), hat(q_heads, heads))
    terms = [
        Term(weights, shape, FIXED_S),
        Term(weights * memory_s[:, None], shape),
        Term(weights * (pairs * pair_s)[:, None], shape),
    ]
    judged = (isl >= SHORTEST) & (window == 0)
    windowed = (isl >= SHORTEST) & (window > 0) & (isl > window)
    predicted = np.empty(len(rows))
    tables: dict[float, list[FloatArray]] = {}
    ratios: dict[float, tuple[float, float, float]] = {}
    folded = True
    dims = sorted(set(rows["head_dim"]))
    # The dimension measured at the most shapes first: it guides the others.
    order = sorted(dims, key=lambda dim: -int(((rows["head_dim"] == dim) & judged).sum()))
    prior: list[FloatArray] | None = None
    for dim in order:
        here = (rows["head_dim"] == dim).to_numpy()
        chosen = here & judged
        fixed, passes, slowness = fit_terms(_of(terms, chosen), seconds[chosen], SMOOTHING, prior)
        parts = [fixed, np.maximum(passes, LEAST), np.maximum(slowness, LEAST)]
        tables[dim] = parts
        predicted[here] = predict(_of(terms, here), parts)
        each = np.stack(
            [term.design @ part.ravel() for term, part in zip(terms, parts, strict=True)]
        )
        overhang = each[2] / pairs * tokens  # seconds of one more key for every query
        ratios[dim] = _window(each, overhang, seconds, here & windowed)
        inside = here & (window > 0)
        one, two, three = ratios[dim]
        predicted[inside] = (one * each[0] + two * each[1] + each[2] + three * overhang)[inside]
        tested = held_out(
            _of(terms, chosen),
            seconds[chosen],
            rows.loc[chosen, ["q_heads", "kv_heads"]].to_numpy(),
            prior,
            SMOOTHING,
        )
        prior = parts if prior is None else prior
        folded = folded and tested is not None
        if tested is not None:
            predicted[chosen] = tested

    fixed, passes, slowness = (np.stack([tables[dim][i] for dim in dims]) for i in range(3))
    values: dict[str, Any] = {
        "head_dim": [int(dim) for dim in dims],
        "group": groups,
        "q_heads": heads,
        "fixed": {"unit": "us", "value": rounded(fixed * 1e6)},
        "passes": {"unit": "ratio", "value": rounded(passes)},
        "efficiency": {"unit": "fraction", "value": rounded(1.0 / slowness)},
    }
    if windowed.any():
        found = np.array([ratios[dim] for dim in dims])
        values["window"] = {
            "fixed": {"unit": "ratio", "value": rounded(found[:, 0])},
            "passes": {"unit": "ratio", "value": rounded(found[:, 1])},
            "overhang": rounded(found[:, 2]),
        }
    residuals = rows[["head_dim", "q_heads", "kv_heads", "batch", "isl"]].assign(
        measured_s=seconds,
        predicted_s=predicted,
        shape_class=[
            _shape_class(*point)
            for point in zip(rows["head_dim"], isl, window, tokens, strict=True)
        ],
        judged=judged,
    )
    known = rows[judged]
    return Entry(
        op="prefill_attention",
        key=kv_dtype,
        values=values,
        source=one_source(rows),
        residuals=residuals,
        range={
            "q_heads": (known["q_heads"].min(), known["q_heads"].max()),
            "kv_heads": (known["kv_heads"].min(), known["kv_heads"].max()),
            "head_dim": (known["head_dim"].min(), known["head_dim"].max()),
            "chunk_tokens": (known["isl"].min(), known["isl"].max()),
        },
        note=f"full attention, prompts of {SHORTEST} tokens or more"
        + ("; 5-fold cross-validation grouped by (q_heads, kv_heads)" if folded else ""),
    )


def _of(terms: list[Term], chosen: FloatArray) -> list[Term]:
    return [Term(term.design[chosen], term.shape, term.scale) for term in terms]


def _window(
    each: FloatArray, overhang: FloatArray, seconds: FloatArray, chosen: FloatArray
) -> tuple[float, float, float]:
    """Ratios of the fixed and the memory term and overhang in keys, for prompts past the window."""
    if not chosen.any():
        return 1.0, 1.0, 0.0
    fixed, passes, pairs = each[:, chosen]
    # The pairs themselves keep their price: what is left is explained by the other three.
    columns = [Term(x[:, None], (1,)) for x in (fixed, passes, overhang[chosen])]
    one, two, three = fit_terms(columns, seconds[chosen], 0.0, offset=pairs)
    return max(float(one[0]), LEAST), max(float(two[0]), LEAST), float(three[0])


def _shape_class(dim: float, isl: float, window: float, tokens: float) -> str:
    name = f"head_dim {dim:.0f}"
    if isl < SHORTEST:
        return f"{name}, under {SHORTEST} tokens"
    if window:
        return f"{name}, window {window:.0f}, " + ("inside" if isl <= window else "past it")
    size = "up to 2,048" if tokens <= 2048 else "2,049 to 16,384" if tokens <= 16384 else "more"
    return f"{name}, {size} tokens in all"


OPERATION = Operation("prefill_attention", read, fit, check=check)
