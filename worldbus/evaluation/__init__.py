"""How good the knowledge base is: labelled questions, and what of their answers is right, in time, and nobody's secret."""
