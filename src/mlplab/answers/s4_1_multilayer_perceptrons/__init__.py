"""Section 4.1: multilayer perceptrons."""
