"""Generated sounds in ESC-50's layout, all of them in its subset."""

from crywatch.corpora.generate.esc50 import write

__all__ = ["write"]
