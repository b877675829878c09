"""Running an exported model with ONNX Runtime, without torch."""
