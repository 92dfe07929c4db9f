"""The leaderboard: trains, repairs and audits models, stores one record for each seed, and writes the tables."""
