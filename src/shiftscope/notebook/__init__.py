"""How results display themselves in notebooks, and the interactive widget."""
