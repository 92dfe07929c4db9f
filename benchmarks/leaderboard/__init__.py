"""The leaderboard: models trained, mended, audited: a record a seed, and the table that is built from the records."""
