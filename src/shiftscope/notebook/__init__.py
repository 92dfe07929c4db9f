"""What `shiftscope.model_utils` is made of: foreign DataLoaders, a loop over them, live progress and pictures."""
