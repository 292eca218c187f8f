"""The toolbox for a model: questions that people ask of a network of their own, on any PyTorch module."""
