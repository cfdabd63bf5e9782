"""ONNX operators as chip-level nodes: one table row per operator, functions shared by families."""
