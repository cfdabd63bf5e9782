"""The frontend: safe loading of ONNX files into graphs, and a light look at one."""

from compiler.frontend.inspect import CachePair, ModelInfo, PortInfo, inspect_model
from compiler.frontend.load import load_model
from compiler.frontend.roles import bind_roles

__all__ = ["CachePair", "ModelInfo", "PortInfo", "bind_roles", "inspect_model", "load_model"]
