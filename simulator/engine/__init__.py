"""The span engine: a replica's scheduler, KV cache and clock, never one event per token."""
