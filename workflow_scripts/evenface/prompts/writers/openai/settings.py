"""Settings of a language model behind an endpoint, ``generation.prompts.contextual.openai``."""

from __future__ import annotations

from pydantic import Field

from evenface.parts import Settings


class OpenAISettings(Settings):
    """An endpoint that speaks OpenAI's chat protocol (also vLLM, llama.cpp, Ollama)."""

    base_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Address before /chat/completions, such as http://localhost:8000/v1.",
    )
    model: str | None = Field(None, description="Name of the model at the endpoint.")
    api_key_env: str | None = Field(
        None,
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the key. The key itself is never written.",
    )
    temperature: float | None = Field(
        0.9, ge=0, le=2, description="Temperature of sampling; null leaves it to the server."
    )
    max_tokens: int = Field(2048, ge=16, le=131072, description="Longest answer, in tokens.")
    lines_per_request: int = Field(20, ge=1, le=500, description="Contexts or prompts asked for at a time.")
    attempts: int = Field(5, ge=1, le=100, description="Useless answers in a row before the job gives up.")
    timeout: float = Field(120, gt=0, le=3600, description="Seconds to wait for one answer.")
    retries: int = Field(
        5,
        ge=0,
        le=20,
        description="How often a request is repeated after a timeout, a lost connection or a server error.",
    )
    max_answer_bytes: int = Field(1048576, ge=1024, le=67108864, description="Largest answer that is read, in bytes.")
