"""Constraints made of constraints: sequences, choices, repetitions, tagged and bounded text."""
