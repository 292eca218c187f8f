"""Answers to section 4.10, Predicting house prices."""
