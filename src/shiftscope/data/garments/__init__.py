"""Garments drawn by our own code: the dataset that is always there, without a download."""

from shiftscope.data.garments.cache import (
    LICENSE,
    NAME,
    TEST_IMAGES,
    TRAIN_IMAGES,
    cache_path,
    load_garments,
    named_counts,
)
from shiftscope.data.garments.drawing import draw

__all__ = ["LICENSE", "NAME", "TEST_IMAGES", "TRAIN_IMAGES", "cache_path", "draw", "load_garments", "named_counts"]
