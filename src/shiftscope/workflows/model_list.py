"""`shiftscope models list`: the registry and what it claims."""

from typing import Any

from shiftscope.models import DESCRIPTIONS, REGISTRY, build_model, count_parameters
from shiftscope.models.claims import CLAIMS, REPAIR_CLAIMS, Claims


def model_list() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the models of the registry and the ways to repair one, as plain JSON.

    Returns:
        Models: "name", "description", "parameters" (at the default canvas, one channel, ten classes) and "claims", by
        mode {"level", "why"}. Repairs: "name" and "claims".
    """
    models = [{"name": name, "description": DESCRIPTIONS[name], "parameters": count_parameters(build_model(name)),
               "claims": _plain(CLAIMS[name])} for name in REGISTRY]
    return models, [{"name": name, "claims": _plain(claims)} for name, claims in REPAIR_CLAIMS.items()]


def _plain(claims: Claims) -> dict[str, dict[str, str]]:
    return {mode: claim.to_dict() for mode, claim in claims.items()}
