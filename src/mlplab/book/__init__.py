"""Answers and evidence -> terminal, figures, files. No answer's content lives here."""
