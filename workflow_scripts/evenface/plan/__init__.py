"""The plan: from prompts to shards and requests. It runs while the DAG is built, so it uses neither torch nor NumPy."""
