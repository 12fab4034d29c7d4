"""Carries out the nodes of running programs: one interpreter a state, advanced by what the backend reports."""
