"""`shiftscope models list`: the registry and what it claims."""

from typing import Any

from shiftscope.models import DESCRIPTIONS, REGISTRY, build_model, count_parameters
from shiftscope.models.claims import CLAIMS, MEND_CLAIMS, Claims


def model_list() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the models of the registry and the ways to mend one, as plain JSON.

    Returns:
        Models: "name", "description", "parameters" (at the default canvas, one channel, ten classes) and "claims", by
        mode {"level", "why"}. Mends: "name" and "claims".
    """
    models = [{"name": name, "description": DESCRIPTIONS[name], "parameters": count_parameters(build_model(name)),
               "claims": _plain(CLAIMS[name])} for name in REGISTRY]
    return models, [{"name": name, "claims": _plain(claims)} for name, claims in MEND_CLAIMS.items()]


def _plain(claims: Claims) -> dict[str, dict[str, str]]:
    return {mode: claim.to_dict() for mode, claim in claims.items()}
