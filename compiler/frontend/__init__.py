"""The frontend: safe loading of ONNX files into graphs, and a light look at one."""

from compiler.frontend.load import load_model

__all__ = ["load_model"]
