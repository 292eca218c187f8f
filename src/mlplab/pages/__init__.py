"""The book as pages: HTML, PDF, terminal, and JSON for machines."""
