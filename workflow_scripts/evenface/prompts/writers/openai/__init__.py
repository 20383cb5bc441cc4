"""An endpoint that speaks OpenAI's chat protocol."""

from evenface.parts import Writer
from evenface.prompts.writers.openai.settings import OpenAISettings

PART = Writer(
    name="openai",
    summary="An endpoint that speaks OpenAI's chat protocol.",
    code="evenface.prompts.writers.openai.endpoint:Endpoint",
    settings=OpenAISettings,
    remote=True,
    patience=("api_key_env", "timeout", "retries", "attempts", "max_answer_bytes", "lines_per_request"),
)
