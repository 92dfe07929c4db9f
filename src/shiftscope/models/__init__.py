"""Classifiers: the course's two models, invariant models, the registry, checkpoints, and other sources of models."""

from shiftscope.models.checkpoint import CheckpointConfig, Provenance, load, load_config, save
from shiftscope.models.course import TwoConvTwoFullNet, TwoFullNet
from shiftscope.models.invariant import InvariantNet, RecenteredNet
from shiftscope.models.onnx_file import OnnxModel, export_onnx
from shiftscope.models.registry import DESCRIPTIONS, REGISTRY, build_model, count_parameters, registry_name
from shiftscope.models.scattering_net import ScatteringFull, ScatteringLinear
from shiftscope.models.sources import LoadedSource, load_model, open_source
from shiftscope.models.weights import load_weights

__all__ = ["DESCRIPTIONS", "REGISTRY", "CheckpointConfig", "InvariantNet", "LoadedSource", "OnnxModel", "Provenance",
           "RecenteredNet", "ScatteringFull", "ScatteringLinear", "TwoConvTwoFullNet", "TwoFullNet",
           "build_model", "count_parameters", "export_onnx", "load", "load_config", "load_model",
           "load_weights", "open_source", "registry_name", "save"]
