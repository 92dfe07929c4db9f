"""The operations of a model, in the order in which one forward pass calls them."""

from shiftscope.graph.export import BATCH
from shiftscope.graph.trace import Graph, Node, TraceError, draws_random, trace

__all__ = ["BATCH", "Graph", "Node", "TraceError", "draws_random", "trace"]
