"""Section 4.2: a multilayer perceptron from scratch."""
