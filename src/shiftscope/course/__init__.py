"""Implementation of `shiftscope.model_utils`: training with DataLoaders, figures and syntheses for notebooks."""
