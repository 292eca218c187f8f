"""The book as pages that need nothing but their own folder."""
