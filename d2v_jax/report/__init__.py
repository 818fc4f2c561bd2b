"""A run as one page: what it learned, from what, and how well."""
