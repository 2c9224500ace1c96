"""The `ponder` command: one module a command, each imported only when it is used."""
