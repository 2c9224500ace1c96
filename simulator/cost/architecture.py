"""What a dense decoder is made of, read from Hugging Face `config.json` keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from simulator.cost.hf_config import NEEDED, parse_hf_config, read_text_file
from simulator.errors import InputError, Problem


@dataclass(frozen=True)
class Architecture:
    """Shape of a decoder-only transformer with gated MLP and grouped-query attention.

    Field names are those of Hugging Face configs. `qkv_bias`, `o_bias` and `mlp_bias` say which
    projections add a bias, `qk_norm` whether queries and keys are normalised per head (Qwen3).
    """

    name: str
    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool

    @property
    def qkv_size(self) -> int:
        """Outputs of the fused query, key and value projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of the matrix products inside the layers: what fp8 checkpoints store in 8 bit."""
        attention = self.hidden_size * (self.qkv_size + self.num_attention_heads * self.head_dim)
        mlp = 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * (attention + mlp)

    @property
    def parameters(self) -> int:
        """All parameters, embeddings and output head included (the published count)."""
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        biases = (
            (self.qkv_size if self.qkv_bias else 0)
            + (self.hidden_size if self.o_bias else 0)
            + (2 * self.intermediate_size + self.hidden_size if self.mlp_bias else 0)
        )
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        vectors = self.num_hidden_layers * (norms + biases) + self.hidden_size
        return self.linear_parameters + embeddings + vectors

    def kv_bytes_per_token(self, bytes_per_element: int = 2) -> int:
        """Bytes of keys and values one token keeps, over all layers and the whole model."""
        elements = 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim
        return elements * bytes_per_element


@dataclass(frozen=True)
class ModelRow:
    """One line of `ponder models`; KV bytes are for a 16-bit cache and the whole model."""

    name: str
    aliases: tuple[str, ...]
    parameters: int
    layers: int
    kv_bytes_per_token: int
    max_context_tokens: int


def load_architecture(name_or_path: str | Path) -> Architecture:
    """The architecture with this catalogue name or alias, or of a `config.json`.

    A path may be the file or the model folder that holds it. Case does not matter for names.
    Raises InputError for an unknown name, an unreadable file, missing keys (named) and
    architectures that can't be costed yet (with the reason), all at once.
    """
    text = str(name_or_path)
    catalogue = _catalogue()
    by_alias = {name.lower(): name for name in catalogue} | {
        alias.lower(): name for name, aliases in _aliases().items() for alias in aliases
    }
    if text.lower() in by_alias:
        return catalogue[by_alias[text.lower()]]
    path = Path(text)
    if (path / "config.json").is_file():
        path = path / "config.json"
    if path.is_file():
        name = path.parent.resolve().name if path.name == "config.json" else path.stem
        return read_architecture(read_text_file(path), name=name, file=str(path))
    if path.suffix == ".json":
        raise InputError(Problem("no such model config file", file=text))
    raise InputError(
        f"unknown model {text!r}; known: {', '.join(sorted(catalogue))} (and their Hugging Face"
        " ids), or give the path of a config.json"
    )


def list_models() -> list[ModelRow]:
    """The architectures that come with ponder, by name."""
    aliases = _aliases()
    return [
        ModelRow(
            name=name,
            aliases=tuple(aliases.get(name, ())),
            parameters=architecture.parameters,
            layers=architecture.num_hidden_layers,
            kv_bytes_per_token=architecture.kv_bytes_per_token(),
            max_context_tokens=architecture.max_position_embeddings,
        )
        for name, architecture in sorted(_catalogue().items())
    ]


def read_architecture(text: str, *, name: str, file: str) -> Architecture:
    """Build an architecture from the text of a `config.json`; `file` is used in messages."""
    config = parse_hf_config(text, file)
    config.refuse_unsupported()
    if config.problems:  # the keys of an unsupported architecture mean something else
        raise InputError(config.problems)
    size = {key: config.positive(key) for key in NEEDED}
    heads, model_type = size["num_attention_heads"], str(config.data["model_type"])
    # Only Llama configs may leave the KV heads out; theirs are then as many as the query heads.
    kv_heads = config.positive("num_key_value_heads", heads if model_type == "llama" else None)
    if heads % kv_heads:
        config.complain("num_key_value_heads", f"{kv_heads} does not divide {heads} query heads")
    if config.data.get("head_dim") is None and size["hidden_size"] % heads:
        config.complain("hidden_size", f"not a multiple of {heads} heads, and no head_dim is given")
    attention_bias = config.flag("attention_bias")
    architecture = Architecture(
        name=name,
        model_type=model_type,
        hidden_size=size["hidden_size"],
        intermediate_size=size["intermediate_size"],
        num_hidden_layers=size["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=config.positive("head_dim", max(1, size["hidden_size"] // heads)),
        vocab_size=size["vocab_size"],
        max_position_embeddings=config.max_context_tokens(),
        tie_word_embeddings=config.flag("tie_word_embeddings"),
        qkv_bias=attention_bias or model_type == "qwen2",
        o_bias=attention_bias,
        mlp_bias=config.flag("mlp_bias"),
        qk_norm=model_type == "qwen3",
    )
    if config.problems:
        raise InputError(config.problems)
    return architecture


@lru_cache(maxsize=1)
def _aliases() -> dict[str, list[str]]:
    aliases: dict[str, list[str]] = json.loads(
        (files("simulator") / "models" / "aliases.json").read_text(encoding="utf-8")
    )
    return aliases


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, Architecture]:
    catalogue = {}
    for entry in (files("simulator") / "models").iterdir():
        if entry.name.endswith(".json") and entry.name != "aliases.json":
            name = entry.name.removesuffix(".json")
            text = entry.read_text(encoding="utf-8")
            catalogue[name] = read_architecture(text, name=name, file=f"models/{entry.name}")
    return catalogue
