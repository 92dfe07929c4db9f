"""All foreign models: importing this module fills `REGISTRY`."""

from . import architectures, batches, endings, geometry, modern, odd  # noqa: F401
from .registry import REGISTRY

__all__ = ["REGISTRY"]
