"""Section 4.3: a multilayer perceptron, concisely."""
