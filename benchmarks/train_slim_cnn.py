"""Slim-CNN training throughput: the plain float32 loop against this project's settings, in one run.

python benchmarks/train_slim_cnn.py [batch size] [steps]

Both train the same network on the same random pixels, without input reading, so that the ratio is
about the step alone. The thread count is OMP_NUM_THREADS (2 by default).
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import torch

from evenface.networks.slim_cnn import SlimCNN
from evenface.training import runtime

batch = int(sys.argv[1]) if len(sys.argv) > 1 else 32
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 8


def throughput(channels_last: bool, bfloat16: bool) -> float:
    """Images a second over ``steps`` steps after two to warm up."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = SlimCNN(40).to(memory_format=layout).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, weight_decay=1e-4)
    pixels = torch.rand(batch, 3, 218, 178).to(memory_format=layout)
    labels = torch.randint(0, 2, (batch, 40)).float()
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = network(pixels)
        torch.nn.functional.binary_cross_entropy_with_logits(outputs.float(), labels).backward()
        optimiser.step()
    return batch * steps / (time.perf_counter() - start)


plain = throughput(False, False)
runtime.prepare(torch.get_num_threads())
ours = throughput(True, runtime.choose_precision("auto", "cpu") == "bfloat16")
print(f"plain loop {plain:.0f} images/s, evenface {ours:.0f} images/s, ratio {ours / plain:.1f} (batch {batch})")
