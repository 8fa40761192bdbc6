"""Tables of clips and what makes them: cleaning, splits by group, mixtures, features."""
