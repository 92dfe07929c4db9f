"""All foreign models: importing this module fills `REGISTRY`."""

import architectures  # noqa: F401
import batches  # noqa: F401
import endings  # noqa: F401
import geometry  # noqa: F401
import odd  # noqa: F401
from registry import REGISTRY

__all__ = ["REGISTRY"]
