"""Any endpoint that speaks OpenAI's chat completions: a vLLM server, llama.cpp, Ollama, a paid service.

    prompt ─ body ──▶ POST ──▶ sse (events of any server) ──▶ reading (what an event says, in any vendor's words) ──▶ chunks

What such servers do beyond text differs, and is data: `profiles` says which fields they take, and settings may say otherwise.
"""

from inference.engines.openai.engine import OpenAiEngine
from inference.engines.openai.settings import OpenAiSettings

__all__ = ["OpenAiEngine", "OpenAiSettings"]
