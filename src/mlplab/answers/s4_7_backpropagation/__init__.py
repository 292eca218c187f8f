"""Section 4.7: forward propagation, backward propagation and computational graphs."""
