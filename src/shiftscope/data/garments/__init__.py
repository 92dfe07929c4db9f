"""Synthetic garments: a dataset that needs no download."""

from shiftscope.data.garments.dataset import (
    LICENSE,
    NAME,
    TEST_IMAGES,
    TRAIN_IMAGES,
    cache_path,
    draw,
    load_garments,
    parse_counts,
)

__all__ = ["LICENSE", "NAME", "TEST_IMAGES", "TRAIN_IMAGES", "cache_path", "draw", "load_garments", "parse_counts"]
