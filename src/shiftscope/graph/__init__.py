"""The operations of a model, in the order in which one forward pass calls them."""
