"""The script here runs with release 0.1 only."""

collect_ignore = ["make_models.py"]
