"""A classifier's à-trous twin: one pass over a field gives the logits of every window that can be cut out of it."""
