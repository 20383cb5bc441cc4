"""The cost of finding a face: FairFace's published detector, the quick detector, and existing landmarks.

python benchmarks/face_chips.py [pictures]

Prints processor seconds per picture on one core, and the memory of the process.
"""

import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import matplotlib
import numpy as np
from PIL import Image

from evenface.faces.face_chips import ChipMaker, chip_of_landmarks, jpeg_roundtrip

FILES = {
    "landmarks": "models/dlib/shape_predictor_5_face_landmarks.dat",
    "mmod": "models/dlib/mmod_human_face_detector.dat",
}
LANDMARKS = np.array([[223, 195], [309, 189], [269, 238], [234, 282], [309, 278]])
pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 2
photograph = np.asarray(Image.open(Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg").convert("RGB"))
ways = {
    "landmarks of screening": lambda: [chip_of_landmarks(photograph, LANDMARKS)],
    "hog": ChipMaker("hog", FILES).chips,
    "mmod": ChipMaker("mmod", FILES).chips,
}
chip = chip_of_landmarks(photograph, LANDMARKS)
start = time.process_time()
for _ in range(20):
    jpeg_roundtrip(chip)
print(f"{'JPEG there and back':24} {(time.process_time() - start) / 20:8.4f} s")
for name, find in ways.items():
    start = time.process_time()
    for _ in range(pictures):
        found = find(photograph) if name != "landmarks of screening" else find()
    seconds = (time.process_time() - start) / pictures
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:24} {seconds:8.4f} s, {len(found)} face, {memory:.1f} GB at most so far")
