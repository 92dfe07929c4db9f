"""Classifiers: the course's two models, invariant models, the registry, checkpoints, ONNX files."""

from shiftscope.models.checkpoint import CheckpointConfig, Provenance, load, load_config, save
from shiftscope.models.course import TwoConvTwoFullNet, TwoFullNet
from shiftscope.models.invariant import InvariantNet, RecenteredNet
from shiftscope.models.onnx_file import OnnxModel, export_onnx
from shiftscope.models.registry import DESCRIPTIONS, REGISTRY, build_model, count_parameters, registry_name
from shiftscope.models.scattering_net import ScatteringFull, ScatteringLinear
from shiftscope.models.sources import load_model
from shiftscope.models.weights import load_weights

__all__ = ["DESCRIPTIONS", "REGISTRY", "CheckpointConfig", "InvariantNet", "OnnxModel", "Provenance", "RecenteredNet",
           "ScatteringFull", "ScatteringLinear", "TwoConvTwoFullNet", "TwoFullNet",
           "build_model", "count_parameters", "export_onnx", "load", "load_config", "load_model",
           "load_weights", "registry_name", "save"]
