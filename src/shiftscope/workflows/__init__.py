"""The verbs of the command line, each put together from the parts below."""
