"""A grammar and a vocabulary to rows of allowed tokens: everything that knows tokens and bytes, and no front end."""
