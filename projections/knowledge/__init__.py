"""The knowledge base: what is known in the world, by whom, and from when on. See docs/explanation/knowledge.md."""
