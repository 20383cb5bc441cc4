"""CPU time, start-up and memory of the parametric renderer, one process, one thread.

python benchmarks/render.py [faces]
"""

import os
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

start = time.process_time()

from evenface.generators.parametric import ASSETS as FACE_ASSETS  # noqa: E402
from evenface.generators.parametric import camera  # noqa: E402
from evenface.generators.parametric.domains import domain  # noqa: E402
from evenface.generators.parametric.render import Renderer  # noqa: E402
from evenface.generators.parametric.sampling import sample  # noqa: E402

count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
renderer = Renderer(ROOT / FACE_ASSETS)
faces = [sample({}, {}, seed) for seed in range(count)]
renderer.render(faces[0])
print(f"start-up to the first face: {time.process_time() - start:.2f} s CPU")

start = time.process_time()
images = [renderer.render(face) for face in faces]
print(
    f"render, 178x218, 2x2 samples: {(time.process_time() - start) / count * 1000:.1f} ms CPU a face over {count} faces"
)

start = time.process_time()
for seed, image in enumerate(images):
    camera.photograph(image, domain("web_crop"), seed)
print(f"camera: {(time.process_time() - start) / count * 1000:.1f} ms CPU a face")
print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
