"""The leaderboard: models trained, repaired, audited: a record a seed, and the table that is built from the records."""
