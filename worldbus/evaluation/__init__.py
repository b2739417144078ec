"""Evaluation of the knowledge base: labelled questions, and the share of their answers that is right, in time, and nobody's secret."""
