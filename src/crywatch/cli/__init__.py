"""The `crywatch` command: thin, a module for each group of commands. Face: `main.main`."""
