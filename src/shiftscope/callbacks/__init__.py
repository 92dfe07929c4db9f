"""Audits during training: `log_audit` for any training loop, `AuditCallback` for Lightning.

Lightning is imported when `AuditCallback` is first used.
"""

from typing import TYPE_CHECKING, Any

from shiftscope.callbacks.epoch_audit import log_audit

if TYPE_CHECKING:
    from shiftscope.callbacks.lightning_callback import AuditCallback

__all__ = ["AuditCallback", "log_audit"]


def __getattr__(name: str) -> Any:
    if name != "AuditCallback":
        raise AttributeError(f"module 'shiftscope.callbacks' has no attribute {name!r}")
    from shiftscope.callbacks.lightning_callback import AuditCallback

    return AuditCallback
