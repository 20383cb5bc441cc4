"""Directions over StyleGAN3's latent spaces, with a tiny network of the published layout."""

from pathlib import Path

import numpy as np
import pytest

from evenface.directions import fitting, samples
from evenface.generators.directions_file import write_directions
from evenface.generators.guided.generator import GuidedGenerator
from evenface.generators.latent import LatentGenerator, create_latent
from evenface.plan.requests import Request
from evenface.storage.shards import read_shard
from evenface.taxonomy import UNKNOWN

NETWORK = Path(__file__).resolve().parents[1] / "contract/reference/stylegan3/tiny_network_snapshot.pkl"


@pytest.mark.parametrize("space", [pytest.param("z", marks=pytest.mark.slow), "w"])
def test_a_property_of_its_pictures_is_found_and_walked_to(space, tmp_path):
    """The network is of random weights and draws no faces: whether a picture is bright stands in for a label."""
    settings = {"network": str(NETWORK)}
    generator = create_latent("stylegan3", {**settings, "files": {"network": str(NETWORK)}, "threads": 1})
    assert isinstance(generator, LatentGenerator) and space in generator.spaces
    recipe = {"generator": "stylegan3", "settings": settings, "space": space, "seed": 1, "samples": 160, "parts": 1,
              "part": 0, "pictures": True}  # fmt: skip
    samples.sample_part(recipe, tmp_path / "0.tar", {"threads": 1})
    table, latents = samples.read_samples([tmp_path / "0.tar"])
    assert "truth" not in table and latents.shape == (160, generator.dimension(space))
    with read_shard(tmp_path / "0.tar") as shard:
        bright = np.array([shard.image(member).mean() for member in shard.table["member"]])
    labels = table[["image_id", "identity_id"]].assign(
        Smiling=np.where(bright > np.median(bright), "present", "absent"), Smiling_score=1.0
    )
    fit = fitting.Fit(labels, latents, ["Smiling"], confidence=0.8, test_share=0.3, seed=1)
    row = fit.accuracy_table().iloc[0]
    assert row["low"] > 0.55, row

    path = tmp_path / "directions.npz"
    write_directions(fit.directions("stylegan3", 1, space, {}), path)
    files = {"directions": str(path), "network": str(NETWORK)}
    guided = GuidedGenerator({"generator": "stylegan3", "base": settings, "files": files, "threads": 1})
    nobody = {"gender": UNKNOWN, "age": UNKNOWN, "ethnicity": UNKNOWN}
    ends = {}
    for value in (1, -1):
        asked = [Request(f"r{i}", "a face", "", nobody, {"Smiling": value}, seed=i) for i in range(4)]
        faces = list(guided.generate(asked))
        assert all(f.provenance["met"] and f.truth is None and "source_type" not in f.provenance for f in faces)
        ends[value] = np.mean([face.image.mean() for face in faces])
    assert ends[1] > ends[-1]
