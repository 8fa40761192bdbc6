"""A detector that knows crying, not corpora: front end, channels, draws, training, context."""
