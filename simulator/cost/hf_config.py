"""Read a Hugging Face `config.json` of a dense decoder: what it says, or why it can't be costed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputError, Problem

# The model types costed so far: pre-norm decoders with a gated MLP and grouped-query attention.
DENSE_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
# Keys that number the experts; 0, 1 or null mean a dense model.
EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
LARGEST = 2**31 - 1  # beyond any model; arithmetic on it stays within floats
FP8_METHODS = ("fp8", "fbgemm_fp8")


@dataclass
class HfConfig:
    """One parsed `config.json` and the problems found in it so far."""

    data: dict[str, Any]
    text: str
    file: str
    problems: list[Problem] = field(default_factory=list)

    def complain(self, key: str, message: str) -> None:
        """Note what is wrong with a key, and the line it stands on."""
        found = re.search(rf'"{re.escape(key)}"\s*:', self.text)
        line = self.text.count("\n", 0, found.start()) + 1 if found else None
        self.problems.append(Problem(message, file=self.file, line=line, field=key))

    def positive(self, key: str, default: int | None = None) -> int:
        """A whole number above zero, within reason; without a default the key is needed."""
        value = self.data.get(key)
        if value is None:
            if default is None:
                self.complain(key, "this key is needed to cost the model and is missing")
            return default or 1
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.complain(key, f"must be a whole number above 0, not {_show(value)}")
            return 1
        if value > LARGEST:
            self.complain(key, f"must be at most {LARGEST}, not {_show(value)}")
            return 1
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """A true/false key."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(key, f"must be true or false, not {value!r}")
            return default
        return value

    def refuse_unsupported(self) -> None:
        """Note every property this cost model has no formula for yet."""
        model_type = self.data.get("model_type")
        if model_type is None:
            self.complain("model_type", "this key is needed to cost the model and is missing")
        elif model_type not in DENSE_MODEL_TYPES:
            known = ", ".join(DENSE_MODEL_TYPES)
            self.complain("model_type", f"{model_type!r} is not costed yet (only {known})")
        for key in EXPERT_KEYS:
            if isinstance(self.data.get(key), int) and self.data[key] > 1:
                self.complain(key, "mixture-of-experts layers are not costed yet")
        if self.data.get("kv_lora_rank"):
            self.complain("kv_lora_rank", "multi-head latent attention (MLA) is not costed yet")
        self._refuse_windows()
        quantization = self.data.get("quantization_config")
        if isinstance(quantization, dict) and quantization.get("quant_method") not in FP8_METHODS:
            method = quantization.get("quant_method")
            self.complain(
                "quantization_config",
                f"weights quantised with {method!r} are not costed yet (bf16 and fp8 are)",
            )

    def _refuse_windows(self) -> None:
        layer_types = self.data.get("layer_types")
        kinds = {str(kind) for kind in layer_types} if isinstance(layer_types, list) else set()
        if kinds - {"full_attention"}:
            others = ", ".join(sorted(kinds - {"full_attention"}))
            self.complain("layer_types", f"layers of {others} are not costed yet")
        # Qwen states a window but uses it only where use_sliding_window says so
        elif self.data.get("sliding_window") and self.data.get("use_sliding_window", True):
            self.complain("sliding_window", "sliding-window attention is not costed yet")

    def max_context_tokens(self) -> int:
        """Longest context the positions allow, stretched by RoPE scaling as vLLM does it."""
        positions = self.positive("max_position_embeddings")
        key = "rope_scaling" if self.data.get("rope_scaling") else "rope_parameters"
        scaling = self.data.get(key) or {}
        if not isinstance(scaling, dict):
            self.complain(key, f"must be an object, not {_show(scaling)}")
            return positions
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind in ("default", "llama3", "longrope", "su") or "factor" not in scaling:
            return positions
        if kind == "yarn":
            positions = scaling.get("original_max_position_embeddings", positions)
        factor = scaling["factor"]
        if not isinstance(factor, int | float) or not isinstance(positions, int) or factor <= 0:
            message = f"factor and original length must be numbers, not {_show(scaling)}"
            self.complain(key, message)
            return 1
        if not 1 <= positions <= LARGEST or not 1 <= positions * factor <= LARGEST:
            self.complain(key, f"gives no possible length: {positions} tokens x {factor}")
            return 1
        return int(positions * factor)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_text_file(path: Path) -> str:
    """The text of a file; InputError if it can't be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=str(path))) from None


def parse_hf_config(text: str, file: str) -> HfConfig:
    """Parse the JSON; raises InputError with the line of a syntax error."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"not JSON: {error.msg}", file=file, line=error.lineno)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        deep = isinstance(error, RecursionError)
        message = "nested too deeply" if deep else "holds a number that is too large"
        raise InputError(Problem(f"not usable JSON: {message}", file=file)) from None
    if not isinstance(data, dict):
        raise InputError(Problem("a config.json is one JSON object", file=file))
    return HfConfig(data=data, text=text, file=file)
