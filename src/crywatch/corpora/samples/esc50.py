"""Generated sounds in ESC-50's layout."""

from crywatch.corpora.generate.esc50 import write

__all__ = ["write"]
