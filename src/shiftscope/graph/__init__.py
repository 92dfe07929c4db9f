"""The operations of a model, in the order of a forward pass."""

from shiftscope.graph.export import BATCH, TraceError
from shiftscope.graph.trace import Graph, Node, draws_random, shared_traces, trace

__all__ = ["BATCH", "Graph", "Node", "TraceError", "draws_random", "shared_traces", "trace"]
