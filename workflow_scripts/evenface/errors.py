"""The one error a user is meant to read: a sentence that names the place and the remedy."""


class UserError(Exception):
    """Something outside the code is wrong (a file, a row, a key); the message says what to do."""
