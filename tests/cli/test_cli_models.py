"""`shiftscope models list`: names, sizes and claims, for people and for scripts."""

import json

from shiftscope.cli import main
from shiftscope.models import REGISTRY, build_model, count_parameters
from shiftscope.models.claims import CLAIMS, REPAIR_CLAIMS


def test_json_has_every_model_with_its_claims(capsys):
    assert main(["models", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 2
    assert [one["name"] for one in found["models"]] == list(REGISTRY)
    for one in found["models"]:
        assert one["parameters"] == count_parameters(build_model(one["name"])) and one["description"]
        assert one["claims"] == {mode: claim.to_dict() for mode, claim in CLAIMS[one["name"]].items()}
    assert [one["name"] for one in found["repairs"]] == list(REPAIR_CLAIMS)


def test_the_table_has_level_mode_and_reason_of_each_claim(capsys):
    assert main(["models", "list"]) == 0
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    assert ["two-full", "314,710"] in [line[:2] for line in lines]
    assert any(line[:4] == ["recentered", "canvas,", "circular", "exact"] for line in lines)
    assert any(line[:4] == ["blur", "canvas,", "circular", "approximate"] for line in lines)
    assert output.count("enters") == 2  # what all share is output once a table
    assert "up to rounding" in output
