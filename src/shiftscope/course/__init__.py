"""What `shiftscope.model_utils` is made of: training over DataLoaders, figures and syntheses for course notebooks."""
