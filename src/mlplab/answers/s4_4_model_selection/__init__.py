"""Answers to section 4.4, model selection, underfitting and overfitting."""
