"""Training methods: plain training, and methods that reduce bias. Each is one module."""
