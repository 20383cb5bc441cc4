"""A latent space of parametric faces: a standard normal vector that decides a face completely.

It replaces the latent space of a trained generator where the right answer must be known. As in trained
generators, factors are not single coordinates of the vector: the factors' own coordinates are a fixed
rotation of it, drawn once from a seed. Groups are unequal, and factors are correlated (``MIXED``): hair
turns gray with the years, and fair hair goes with the white level. Unlike in trained generators, all
relations are linear and known: :meth:`ParametricLatent.known_directions` says what a method should find.
Methods that look for linear directions therefore have an easier task here; their results are an upper bound.

Continuous factors change continuously. Hair style, clothes, glasses, hats, kinds of beard, make-up and
the kind of backdrop switch at fixed values of their coordinates. Details that belong to no factor
(pores, strands, the pattern of creases, the camera's noise) switch at fixed values of the coordinate ``marks``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evenface.errors import UserError, check_names
from evenface.generators.parametric import camera, pigment, styles, truth
from evenface.generators.parametric.domains import Domain, domain
from evenface.generators.parametric.face import Backdrop, Expression, Face, Hair, Light, Look, Person, Pose
from evenface.generators.parametric.sampling import scaled_framing
from evenface.generators.parametric.settings import ParametricSettings
from evenface.generators.parametric.truth import TRAIT_ATTRIBUTES
from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS

SPACE = "latent"

_TRAITS = tuple(sorted({trait for trait, _ in TRAIT_ATTRIBUTES.values()}))

#: Coordinates of the head's shape (``Person.shape``).
SHAPE_COORDINATES = 32

#: The coordinates of the rotated vector, named by what they decide.
COORDINATES: tuple[str, ...] = (
    "gender", "age", *DIMENSIONS["ethnicity"], "lightness", "gray",
    "hair_style", "hair_warmth", "beard_kind", "beard_amount", "receding",
    "weight", "muscle", "skin_tone", "eye_colour", "brow_style", "lash_style",
    *(f"trait {name}" for name in _TRAITS),
    *(f"shape {k}" for k in range(SHAPE_COORDINATES)),
    "glasses", "hat", "makeup", "clothes", "clothes_light", "clothes_red", "clothes_blue",
    "smile", "teeth", "mouth_open", "mood", "brow_raise", "gaze_right", "gaze_up",
    "yaw", "pitch", "roll", "body_yaw",
    "key_azimuth", "key_elevation", "key_intensity", "cast", "tint", "fill_azimuth", "fill_intensity", "ambient",
    "backdrop_kind", "backdrop_a", "backdrop_a_warmth", "backdrop_b", "backdrop_b_warmth", "marks",
)  # fmt: skip

#: How much of another factor is mixed into a coordinate. The rest is its own value, scaled so that the variance is 1.
#: ``whiteness`` is (2 white - asian - black) / sqrt(6).
MIXED: dict[str, tuple[str, float]] = {"gray": ("age", 0.6), "lightness": ("whiteness", 0.6)}

#: ``marks`` switches in this many steps of equal probability.
MARKS = 16

#: How sharply the gender and ethnicity coordinates separate their levels.
_GENDER_SLOPE, _ETHNICITY_SLOPE = 10.0, 7.0


@functools.lru_cache(maxsize=1)
def rotation() -> np.ndarray:
    """The orthogonal matrix (d, d), float64, whose rows are the coordinates' directions in the latent.

    Gram-Schmidt on normal draws; every sum is rounded once (``math.fsum``), so that processors agree.
    """
    count = len(COORDINATES)
    random = np.random.Generator(np.random.PCG64(seed_from("parametric latent", "rotation")))
    rows: list[list[float]] = []
    for start in random.standard_normal((count, count)).tolist():
        row = start
        for _ in range(2):  # the second pass removes rounding errors of the first
            for other in rows:
                along = _dot(row, other)
                row = [a - along * b for a, b in zip(row, other)]
        length = math.sqrt(_dot(row, row))
        rows.append([a / length for a in row])
    return np.array(rows)


def _dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b))


def _whiteness(values: Mapping[str, Any]) -> Any:
    return (2 * values["white"] - values["asian"] - values["black"]) / math.sqrt(6)


def _mixed(values: dict[str, Any]) -> dict[str, Any]:
    """Coordinates with ``MIXED`` applied; values may be numbers or vectors."""
    sources = {"age": values["age"], "whiteness": _whiteness(values)}
    for name, (source, share) in MIXED.items():
        values[name] = math.sqrt(1 - share**2) * values[name] + share * sources[source]
    return values


def coordinates(latent: np.ndarray) -> dict[str, float]:
    """Coordinate -> value of a latent (d,). Each is standard normal if the latent is.

    Rounded to six decimals: the last bits of a sum may depend on the processor.
    """
    values = (rotation() * np.asarray(latent, np.float64)).sum(1)
    mixed = _mixed(dict(zip(COORDINATES, values.tolist(), strict=True)))
    return {name: round(value, 6) for name, value in mixed.items()}


def _share(value: float) -> float:
    """The standard normal distribution function: uniform on [0, 1] for a standard normal value."""
    return 0.5 * (1 + math.erf(value / math.sqrt(2)))


def _between(value: float, *points: tuple[float, float]) -> float:
    """Amount at a coordinate's share of the population: linear between ``points`` (share, amount), 4 decimals."""
    return round(float(np.interp(_share(value), *zip(*points))), 4)


def _choice(value: float, weights: Mapping[str, float]) -> str:
    """The entry chosen by a coordinate: its share of the population, compared with the cumulative weights."""
    total, place = sum(weights.values()), _share(value)
    reached = 0.0
    for name, weight in weights.items():
        reached += weight / total
        if place < reached:
            return name
    return name


def describe(latent: np.ndarray, settings: Mapping[str, Any]) -> Face:
    """The face of one latent (d,); ``settings`` has ``domain`` and ``size``."""
    u = coordinates(latent)
    place = domain(settings["domain"])
    person = _person(u)
    return Face(
        person=person,
        age=_between(u["age"], (0, 17), (1 / 3, 30), (2 / 3, 50), (1, 80)),
        hair=_hair(u, person),
        look=_look(u, person),
        expression=_expression(u),
        pose=_pose(u, place),
        light=_light(u, place),
        backdrop=_backdrop(u),
        framing=scaled_framing(*settings["size"]),
        detail_seed=seed_from("latent detail", _marks(u)) & 0x7FFFFFFF,
    )


def _marks(u: Mapping[str, float]) -> int:
    return min(int(_share(u["marks"]) * MARKS), MARKS - 1)


def _person(u: Mapping[str, float]) -> Person:
    male = 1 / (1 + math.exp(-_GENDER_SLOPE * max(min(u["gender"], 5.0), -5.0)))
    powers = {e: math.exp(_ETHNICITY_SLOPE * max(min(u[e], 6.0), -6.0)) for e in DIMENSIONS["ethnicity"]}
    weights = {e: round(power / sum(powers.values()), 4) for e, power in powers.items()}
    light_eyes = max(weights, key=weights.get) == "white"
    eyes = dict.fromkeys(styles.EYE_COLOURS if light_eyes else ("brown", "brownlight"), 1.0)
    if light_eyes:
        eyes["brown"] = 3.0
    return Person(
        shape_seed=seed_from("latent shape", _marks(u)) & 0x7FFFFFFF,
        gender="male" if u["gender"] > 0 else "female",
        ethnicity=weights,
        masculinity=round(male, 4),
        weight=round(min(max(0.5 + 0.13 * u["weight"], 0.15), 0.9), 3),
        muscle=round(min(max(0.38 + 0.17 * male + 0.1 * u["muscle"], 0.15), 0.8), 3),
        skin_tone=_between(u["skin_tone"], (0, 0), (1, 1)),
        eye_colour=_choice(u["eye_colour"], eyes),
        brow_style=1 + min(int(_share(u["brow_style"]) * styles.BROW_STYLES), styles.BROW_STYLES - 1),
        lash_style=1 + min(int(_share(u["lash_style"]) * styles.LASH_STYLES), styles.LASH_STYLES - 1),
        traits={name: round(min(max(0.3 * u[f"trait {name}"], -0.9), 0.9), 3) for name in _TRAITS},
        shape=tuple(u[f"shape {k}"] for k in range(SHAPE_COORDINATES)),
    )


def _hair(u: Mapping[str, float], person: Person) -> Hair:
    male = person.gender == "male"
    main = max(person.ethnicity, key=person.ethnicity.get)
    lightness = _between(u["lightness"], (0, 0.02), (0.35, 0.29), (0.68, 0.73), (1, 1))
    warmth = 0.3 + 0.85 * math.sin(math.pi * min(lightness, 0.55) / 1.1) + 0.18 * u["hair_warmth"]
    amounts = dict.fromkeys(("stubble", "beard", "moustache", "goatee"), 0.0)
    if male:
        kinds = {"shaved": 0.5, "stubble": 0.2, "beard": 0.14, "goatee": 0.08, "moustache": 0.08}
        kind = _choice(u["beard_kind"], kinds)
        if kind != "shaved":
            amounts[kind] = _between(u["beard_amount"], (0, 0.5), (1, 0.9))
        if kind == "beard":
            amounts["moustache"] = 0.7
    suited = {n: styles.HAIR_STYLES[n].weight for n in styles.hair_styles(person.gender, main)}
    return Hair(
        _choice(u["hair_style"], suited),
        pigment.hair_colour(lightness, max(warmth, 0.0)),
        gray=_between(u["gray"], (0, 0), (0.7, 0.1), (0.78, 0.45), (0.86, 0.7), (1, 1)),
        receding=round(min(max(0.25 * u["receding"] + 0.1 * u["age"], 0.0), 0.9), 3) if male else 0.0,
        **amounts,
    )


def _colour(light: float, red: float, blue: float) -> tuple[float, float, float]:
    values = (light * math.exp(0.12 * red), light, light * math.exp(0.12 * blue))
    return tuple(round(min(max(v, 0.01), 1.0), 4) for v in values)


def _look(u: Mapping[str, float], person: Person) -> Look:
    female = person.gender == "female"
    makeup = _between(u["makeup"], (0, 0), (0.4, 0), (1, 0.9)) if female else 0.0
    clothes = dict.fromkeys(styles.CLOTHES[person.gender], 1.0)
    light = _between(u["clothes_light"], (0, 0.06), (1, 0.7))
    return Look(
        glasses=_choice(u["glasses"], {"none": 0.86, "round": 0.05, "square": 0.07, "sun": 0.02}),
        hat=_choice(u["hat"], {"none": 0.97, **dict.fromkeys(styles.HATS, 0.01)}),
        clothes=_choice(u["clothes"], clothes),
        clothes_tint=_colour(light, u["clothes_red"], u["clothes_blue"]),
        lipstick=round(makeup * 0.85, 3),
        eyeshadow=round(makeup * 0.6, 3),
        blush=round(makeup * 0.5, 3),
    )


def _expression(u: Mapping[str, float]) -> Expression:
    smile = _between(u["smile"], (0, 0), (0.5, 0.18), (0.55, 0.5), (1, 1))
    opened = _between(u["mouth_open"], (0, 0), (0.82, 0.08), (0.88, 0.35), (1, 0.7))
    mood = u["mood"] if smile < 0.3 else 0.0  # frowning below zero, pouting above
    return Expression(
        smile=smile,
        teeth=round(smile * _between(u["teeth"], (0, 0), (0.3, 0.3), (1, 0.95)), 3) if smile > 0.3 else 0.0,
        mouth_open=opened,
        eyes_closed=0.03,
        frown=round(min(max(-mood - 1.0, 0.0) * 0.2, 0.25), 3),
        pucker=round(min(max(mood - 1.2, 0.0) * 0.2, 0.25), 3),
        brow_raise=round(min(max(0.12 + 0.2 * u["brow_raise"], -0.3), 0.8), 3),
        gaze=(
            round(min(max(0.18 * u["gaze_right"], -0.6), 0.6), 3),
            round(min(max(0.08 * u["gaze_up"], -0.3), 0.3), 3),
        ),
    )


def _pose(u: Mapping[str, float], place: Domain) -> Pose:
    yaw = min(max(place.yaw * u["yaw"], -0.6), 0.6)
    return Pose(
        yaw=round(yaw, 4),
        pitch=round(min(max(place.pitch * u["pitch"], -0.22), 0.22), 4),
        roll=round(min(max(place.roll * u["roll"], -0.25), 0.25), 4),
        body_yaw=round(yaw * 0.35 + 0.12 * u["body_yaw"], 4),
    )


def _light(u: Mapping[str, float], place: Domain) -> Light:
    cast, tint = place.colour_cast * u["cast"], place.tint * u["tint"]
    white = [math.exp(cast), math.exp(tint), math.exp(-cast)]
    key = _between(u["key_intensity"], (0, place.key_intensity[0]), (1, place.key_intensity[1]))
    azimuth = _between(u["key_azimuth"], (0, -1.15), (1, 1.15))
    fill = _between(u["fill_intensity"], (0, 0.08), (1, 0.5))
    ambient = _between(u["ambient"], (0, place.ambient[0]), (1, place.ambient[1]))
    return Light(
        key_azimuth=azimuth,
        key_elevation=_between(u["key_elevation"], (0, place.key_elevation[0]), (1, place.key_elevation[1])),
        key_colour=tuple(round(key * w, 4) for w in white),
        fill_azimuth=round(-math.copysign(_between(u["fill_azimuth"], (0, 0.5), (1, 2.2)), azimuth), 4),
        fill_elevation=0.2,
        fill_colour=(fill, fill, fill),
        sky_colour=tuple(round(ambient * math.sqrt(w), 4) for w in white),
        ground_colour=tuple(round(ambient * w, 4) for w in (0.54, 0.5, 0.44)),
    )


def _backdrop(u: Mapping[str, float]) -> Backdrop:
    a, b = _between(u["backdrop_a"], (0, 0.04), (1, 0.65)), _between(u["backdrop_b"], (0, 0.03), (1, 0.5))
    return Backdrop(
        _choice(u["backdrop_kind"], {"plain": 0.2, "gradient": 0.3, "blurred": 0.5}),
        seed_from("latent backdrop", _marks(u)) & 0x7FFFFFFF,
        _colour(a, u["backdrop_a_warmth"], -u["backdrop_a_warmth"]),
        _colour(b, u["backdrop_b_warmth"], -u["backdrop_b_warmth"]),
    )


class ParametricLatent:
    """The parametric renderer, driven by a latent vector; settings are those of the parametric generator."""

    name = "parametric"
    spaces: tuple[str, ...] = (SPACE,)

    def __init__(self, settings: Mapping[str, Any]):
        known = {k: v for k, v in settings.items() if k not in ("device", "threads", "files")}
        self.settings = ParametricSettings.filled(known, "generation.settings.parametric")
        self._assets = settings.get("files", {}).get("assets")

    @functools.cached_property
    def _renderer(self):
        from evenface.generators.parametric.render import Renderer

        if not self._assets:
            raise UserError("the parametric generator needs its assets; the rule distil_face_assets makes them")
        return Renderer(self._assets)

    def dimension(self, space: str) -> int:
        """Coordinates of a latent."""
        check_names("latent spaces of the generator parametric", [space], self.spaces)
        return len(COORDINATES)

    def sample(self, count: int, seed: int, space: str) -> np.ndarray:
        """Standard normal latents, float32 (count, dimension); row i depends on (seed, i) alone."""
        width = self.dimension(space)
        rows = np.empty((count, width), np.float32)
        for i, row in enumerate(rows):
            random = np.random.Generator(np.random.PCG64(seed_from(seed, "parametric latent", i)))
            row[:] = random.standard_normal(width)
        return rows

    def describe(self, latents: np.ndarray, space: str) -> Iterator[Face]:
        """The description of the face of each row."""
        latents = np.asarray(latents)
        if latents.ndim != 2 or latents.shape[1] != self.dimension(space) or not np.isfinite(latents).all():
            raise ValueError(f"latents must be finite, of shape (n, {self.dimension(space)}); got {latents.shape}")
        for latent in latents:
            yield describe(latent, self.settings)

    def truths(self, latents: np.ndarray, space: str) -> Iterator[dict[str, Any]]:
        """The truth about the face of each row (:func:`evenface.generators.parametric.truth.truth_of`)."""
        return map(truth.truth_of, self.describe(latents, space))

    def draw(self, latents: np.ndarray, space: str) -> Iterator[np.ndarray]:
        """RGB uint8 (H, W, 3) of each row, in order."""
        place = domain(self.settings["domain"])
        for face in self.describe(latents, space):
            clean = self._renderer.render(face, supersample=self.settings["supersample"])
            image, quality = camera.photograph(clean, place, seed_from("latent camera", face.detail_seed))
            yield camera.compress(image, quality)

    def known_directions(self, space: str) -> dict[tuple[str, str], np.ndarray]:
        """(factor, level) -> unit vector of the latent along which the level becomes likelier.

        Middle age and brown hair are missing: they lie between two other levels, so no direction leads to them.
        """
        self.dimension(space)
        rows = _mixed(dict(zip(COORDINATES, rotation(), strict=True)))
        found = {("gender", "male"): rows["gender"], ("gender", "female"): -rows["gender"],
                 ("age", "senior"): rows["age"], ("age", "young"): -rows["age"],
                 ("hair", "gray"): rows["gray"], ("hair", "blond"): rows["lightness"],
                 ("hair", "black"): -rows["lightness"]}  # fmt: skip
        levels = DIMENSIONS["ethnicity"]
        for level in levels:
            others = [rows[other] for other in levels if other != level]
            found["ethnicity", level] = (2 * rows[level] - others[0] - others[1]) / math.sqrt(6)
        assert {level for factor, level in found if factor == "hair"} <= set(HAIR_COLOURS)
        return found
