"""What an iteration costs and what the KV cache holds."""
