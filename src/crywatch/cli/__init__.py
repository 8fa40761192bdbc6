"""The `crywatch` command: thin, the logic is in the other rooms."""
