"""A run as it can be looked at: in a terminal, and as a page."""
