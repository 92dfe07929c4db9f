"""Every placement, exactly: how often a model is right, where, and how often it changes its mind."""
