"""The live page: a local, read-only web server that shows the progress of a run."""
