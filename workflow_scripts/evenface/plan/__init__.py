"""The plan: from prompts to shards and requests. No torch and no NumPy, since it runs while the DAG is built."""
