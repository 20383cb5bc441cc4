"""The marks and byte characters of CLIP's tokenizer (Radford et al., 2021)."""

BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """The printable character for each byte, as in GPT-2 and CLIP; most bytes stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in plain}
    for shift, byte in enumerate(b for b in range(256) if b not in symbols):
        symbols[byte] = chr(256 + shift)
    return [symbols[byte] for byte in (*plain, *(b for b in range(256) if b not in plain))]
