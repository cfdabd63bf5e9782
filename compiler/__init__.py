"""ONNX model → typed graph → words of the Athena machine."""
