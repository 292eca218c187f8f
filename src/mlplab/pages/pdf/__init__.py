"""The book as PDF: documents as data for a template in Typst, and what the template needs beside them."""
