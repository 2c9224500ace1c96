"""Which number formats a checkpoint has, from the `quantization_config` of its `config.json`."""

from __future__ import annotations

from typing import Any

from hardware_profiles.dtypes import Dtype
from simulator.cost.hf_config import HfConfig
from simulator.cost.number_formats import DTYPES, Formats


def read_quantization(config: HfConfig) -> Formats:
    """The formats that `quantization_config` describes; notes what can't be costed in `config`."""
    quantization = config.data.get("quantization_config")
    if quantization is None:
        return Formats()
    if not isinstance(quantization, dict):
        config.complain("quantization_config", "must be an object")
        return Formats()
    dtype = _dtype(quantization)
    if dtype is None:
        method = quantization.get("quant_method")
        known = ", ".join(DTYPES)
        config.complain(
            "quantization_config",
            f"weights quantised with {method!r} in this way are not costed yet ({known} are)",
        )
        return Formats()
    kept = _kept_modules(quantization)
    return Formats(
        attention="bf16" if any("attn" in name for name in kept) else dtype,
        mlp="bf16" if any("shared_expert" in name for name in kept) else dtype,
        experts=dtype,
    )


def _dtype(quantization: dict[str, Any]) -> Dtype | None:
    """The one number format of a checkpoint, by the conventions of each quantisation tool."""
    method = str(quantization.get("quant_method", "")).lower()
    if method == "fp8":
        return "fp8_block" if quantization.get("weight_block_size") else "fp8"
    if method == "fbgemm_fp8":
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if method in ("awq", "gptq"):
        return "int4" if quantization.get("bits", quantization.get("w_bit")) == 4 else None
    if method == "modelopt":
        algorithm = str(quantization.get("quant_algo", "")).upper()
        return {"FP8": "fp8", "NVFP4": "nvfp4"}.get(algorithm)  # type: ignore[return-value]
    if method == "compressed-tensors":
        return _compressed(quantization)
    return None


def _compressed(quantization: dict[str, Any]) -> Dtype | None:
    """compressed-tensors: the weights of every group must share one format."""
    groups = quantization.get("config_groups")
    found: set[Dtype | None] = set()
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if not isinstance(weights, dict):
            continue
        bits, kind = weights.get("num_bits"), weights.get("type")
        strategy, size = weights.get("strategy"), weights.get("group_size")
        if kind == "float" and bits == 8:
            found.add("fp8_block" if strategy == "block" else "fp8")
        elif kind == "float" and bits == 4 and size in (16, 32):
            found.add("mxfp4" if size == 32 else "nvfp4")
        elif kind == "int" and bits == 4 and group.get("input_activations") is None:
            found.add("int4")
        else:
            found.add(None)
    return found.pop() if len(found) == 1 else None


def _kept_modules(quantization: dict[str, Any]) -> list[str]:
    """Names or patterns of modules that stay in 16 bit, under any of the keys in use."""
    names: list[str] = []
    for key in ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"):
        value = quantization.get(key)
        names += [str(name) for name in value] if isinstance(value, list) else []
    return names
