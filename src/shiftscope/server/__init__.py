"""The live page: a web server for one's own machine that shows a run while it goes on, and never writes."""
