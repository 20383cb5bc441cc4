"""Training methods and networks as parts: those of the library, and toys in a user's own file."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from resumption import put_state, states_of

from evenface import parts
from evenface.checkpoints import load_model
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.training import predict, train
from evenface.training.settings import run_files, run_recipe
from faces import HAIR, make_faces

ATTRIBUTES = tuple(HAIR)

#: The network of tests/extensions, normalised in its own way.
NETWORK = (Path(__file__).parents[1] / "extensions/pooled.py").read_text()
NETWORK = NETWORK.replace(
    "PART = Network(", "PART = Network(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225),"
)

#: Group weights that follow the groups' losses, as GroupDRO's do.
METHOD = """
from pydantic import Field

from evenface.parts import Method, Settings


class Rate(Settings):
    eta: float = Field(0.5, gt=0)


def create(problem, settings):
    import torch

    from evenface.training.method import Classification

    class Worst(Classification):
        keeps = ("q", "seen")
        selects = ("balanced_accuracy", "max")

        def __init__(self):
            super().__init__(problem, settings)
            self.group, self.names = problem.groups(["gender"])
            self.q, self.seen = torch.ones(len(self.names)) / len(self.names), {name: 0 for name in self.names}

        def loss(self, outputs, features, rows):
            group = torch.from_numpy(self.group[rows])
            losses = (self.losses(outputs, rows) * self.defined(rows)).mean(1)
            means = torch.stack([losses[group == g].mean() if (group == g).any() else losses.sum() * 0 for g in range(2)])
            self.q = torch.softmax(self.q.log() + self.settings.eta * means.detach(), 0)
            for g in group.tolist():
                self.seen[self.names[g]] += 1
            return (self.q * means).sum()

    return Worst()


PART = Method(name="worst", summary="Learns for the worse group.", code=create, settings=Rate, needs_groups=("train",))
"""

QUICK = {
    "network": "pooled",
    "image_size": [16, 20],
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.02,
    "schedule": "cosine",
    "shift": 0.1,
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), 40, undefined=0.1)


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """A folder of the user's with both toys."""
    folder = tmp_path / "my_parts"
    folder.mkdir()
    (folder / "pooled.py").write_text(NETWORK)
    (folder / "worst.py").write_text(METHOD)
    monkeypatch.setenv(parts.VARIABLE, "")
    parts.activate([folder])
    return folder


def fit(faces, folder, settings=QUICK, attributes=ATTRIBUTES):
    folder.mkdir(parents=True, exist_ok=True)
    return train(
        faces, attributes, settings, folder / "model.safetensors", log_path=folder / "log.csv", seed=1, device="cpu"
    )


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("method", [{"name": "worst", "eta": 0.7}, "erm", {"name": "reweight", "by": "group"}])
def test_any_method_goes_on_from_any_step_to_the_same_files(method, faces, tmp_path):
    settings = {**QUICK, "method": method, "average": 0.5}
    manifest, states = states_of(lambda: fit(faces, tmp_path / "whole", {**settings, "save_seconds": 0}))
    assert manifest["method"] == ({"name": method} if isinstance(method, str) else {**parts_of(method), **method})
    assert len(states) == 2 * 4 + 1
    expected = files(tmp_path / "whole")
    for i, state in enumerate(states):
        put_state(tmp_path / str(i) / "model.safetensors", state)
        fit(faces, tmp_path / str(i), settings)
        made = files(tmp_path / str(i))
        made["model.json"] = made["model.json"].replace(b'"save_seconds": 30.0', b'"save_seconds": 0.0')
        assert made == expected, f"from state {i}"


def parts_of(method):
    """The settings of a method with their defaults, as a manifest states them."""
    return parts.part(parts.Method, method["name"], "test").settings().model_dump(mode="json")


def test_methods_differ_and_so_do_their_settings(faces, tmp_path):
    made = {}
    for i, method in enumerate(
        ("erm", "worst", {"name": "worst", "eta": 5.0}, {"name": "reweight", "by": "group_and_class"})
    ):
        fit(faces, tmp_path / str(i), {**QUICK, "method": method})
        made[str(method)] = files(tmp_path / str(i))["model.safetensors"]
    assert len(set(made.values())) == 4


def test_a_model_remembers_how_its_network_is_shown_pixels(faces, tmp_path):
    manifest = fit(faces, tmp_path / "m", {**QUICK, "network": {"name": "pooled", "width": 5}, "image_size": [18, 22]})
    assert manifest["network"] == {"name": "pooled", "outputs": 3, "settings": {"width": 5}}
    shown = manifest["input"]
    assert (shown["rows"], shown["columns"], shown["mean"]) == (22, 18, [0.485, 0.456, 0.406])
    model, out = tmp_path / "m/model.safetensors", tmp_path / "p.parquet"
    table = predict(model, faces, out, split="test", device="cpu")

    from evenface.pixels.decoding import fit_image
    from evenface.storage.images import ImageReader

    network, _ = load_model(model)
    with ImageReader() as reader:
        pixels = np.stack([fit_image(reader.read(path), (22, 18)) for path in faces["image"][faces["split"] == "test"]])
    x = (pixels / 255 - np.array(shown["mean"])) / np.array(shown["deviation"])
    with torch.no_grad():
        scores = network(torch.from_numpy(x.transpose(0, 3, 1, 2)).float()).sigmoid().numpy()
    assert np.abs(table[[f"score_{a}" for a in ATTRIBUTES]].to_numpy() - scores).max() < 1e-5
    # The manifest decides, not the code: another mean there gives other scores.
    path = tmp_path / "m/model.json"
    path.write_text(json.dumps({**manifest, "input": {**shown, "mean": [0.1, 0.1, 0.1]}}))
    other = predict(model, faces, out, split="test", device="cpu")
    assert np.abs(table["score_Black_Hair"] - other["score_Black_Hair"]).max() > 1e-3


def test_a_too_small_picture_or_a_wrong_setting_of_a_part_is_named(faces, tmp_path):
    for change, message in (
        ({"image_size": [15, 16]}, r"image_size is \[15, 16\]; the network pooled needs at least 16 x 16"),
        ({"network": {"name": "pooled", "wide": 3}}, r"training\.network: 'wide' is not known"),
        ({"network": {"width": 3}}, r"training\.network: key 'name' is missing"),
        ({"method": {"name": "worst", "eta": 0}}, r"training\.method\.eta is 0"),
        ({"method": "wurst"}, r"training\.method: 'wurst' is not known; did you mean 'worst'"),
    ):
        with pytest.raises(UserError, match=message):
            fit(faces, tmp_path / "m", {**QUICK, **change})


# Reweighting.


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("by", ["class", "group", "group_and_class"])
def test_weights_are_the_inverse_of_how_often_a_cell_occurs(by, root, faces, monkeypatch):
    from types import SimpleNamespace

    from evenface.training.method import Classification

    labels = faces[list(ATTRIBUTES)].to_numpy(np.int8)
    rows = np.flatnonzero(faces["split"] == "train")
    group = (faces["gender"] + "*" + faces["ethnicity"]).to_numpy()
    problem = SimpleNamespace(
        attributes=ATTRIBUTES, faces=faces, labels=labels, train_rows=rows, session=SimpleNamespace(device="cpu"),
        groups=lambda dimensions: (pd.Series(group).astype("category").cat.codes.to_numpy(np.int64), None),
    )  # fmt: skip
    monkeypatch.setattr(Classification, "__init__", lambda self, problem, settings: vars(self).update(
        problem=problem, settings=settings, blocks={}, labels=torch.tensor(problem.labels)))  # fmt: skip
    part = parts.part(parts.Method, "reweight", "test")
    method = part.load()(problem, part.settings(by=by, square_root=root))
    outputs = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(1))
    total, count = 0.0, 0
    for column in range(3):
        defined = [i for i, row in enumerate(rows) if labels[row, column] != 0]
        cell = [
            {"class": (labels[rows[i], column],), "group": (group[rows[i]],)}.get(by, (labels[rows[i], column], group[rows[i]]))
            for i in defined
        ]  # fmt: skip
        inverse = np.array([1 / cell.count(c) for c in cell]) ** (0.5 if root else 1)
        weights = inverse / inverse.mean()
        logit = outputs[defined, column].double().numpy()
        sign = labels[rows[defined], column]
        total += (weights * np.log1p(np.exp(-sign * logit))).sum()
        count += len(defined)
        sums = pd.Series(weights).groupby(pd.Series(cell)).sum()
        assert root or np.allclose(sums, sums.iloc[0]), "all cells weigh the same together"
    assert float(method.loss(outputs, None, rows)) == pytest.approx(total / count, rel=1e-5)


# Where a training starts.


def test_a_training_starts_from_given_weights(faces, tmp_path):
    fit(faces, tmp_path / "first")
    start = str(tmp_path / "first/model.safetensors")
    still = {**QUICK, "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0}
    manifest = fit(faces, tmp_path / "second", {**still, "initial_weights": start})
    first, second = (load_model(tmp_path / f"{n}/model.safetensors")[0].state_dict() for n in ("first", "second"))
    assert all(torch.allclose(first[n], second[n]) for n in first if "running" not in n and "num_batches" not in n)
    assert (
        manifest["data"]["initial_weights_sha256"]
        == json.loads((tmp_path / "first/model.json").read_text())["weights_sha256"]
    )


def test_the_last_layer_is_drawn_anew_for_another_number_of_attributes(faces, tmp_path, caplog):
    caplog.set_level("INFO", "evenface")
    fit(faces, tmp_path / "first")
    still = {**QUICK, "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0}
    start = str(tmp_path / "first/model.safetensors")
    fit(faces, tmp_path / "second", {**still, "initial_weights": start}, attributes=ATTRIBUTES[:2])
    first, second = (load_model(tmp_path / f"{n}/model.safetensors")[0].state_dict() for n in ("first", "second"))
    assert torch.allclose(first["body.0.weight"], second["body.0.weight"]) and len(second["head.weight"]) == 2
    assert "new random weights for head.weight, head.bias" in caplog.text


def test_weights_of_another_network_are_refused_with_file_and_tensor(faces, tmp_path):
    fit(faces, tmp_path / "wide", {**QUICK, "epochs": 1, "network": {"name": "pooled", "width": 7}})
    for path, message in (
        (tmp_path / "wide/model.safetensors", r"model\.safetensors: tensor 'body\.0\.weight' has shape \(7, 3, 5, 5\)"),
        (tmp_path / "absent.pt", r"absent\.pt: the file cannot be read|absent\.pt: the checkpoint does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            fit(faces, tmp_path / "m", {**QUICK, "initial_weights": str(path)})


def test_slim_cnn_starts_from_the_file_its_author_publishes(faces, tmp_path, caplog):
    from evenface.networks.slim_cnn.network import SlimCNN
    from evenface.training.fitting import new_network
    from evenface.training.session import Session
    from evenface.training.settings import ClassifierSettings

    torch.manual_seed(0)
    published = SlimCNN(40)
    torch.save({"model_state_dict": published.state_dict(), "hyper_params": {}}, tmp_path / "slim.pt")
    part = parts.part(parts.Network, "slim_cnn", "test")
    session = Session(tmp_path / "m", ClassifierSettings(), seed=1, device="cpu")
    network = new_network(session, part, part.settings(), 3, str(tmp_path / "slim.pt"))
    ours, theirs = network.state_dict(), published.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if not name.startswith("fc."))
    torch.save({"model": published.state_dict()}, tmp_path / "other.pt")
    with pytest.raises(
        UserError, match=r"other\.pt: the training cannot start from it: key 'model_state_dict' is missing"
    ):
        new_network(session, part, part.settings(), 3, str(tmp_path / "other.pt"))


# Several in one configuration.


def test_every_run_has_its_own_network_method_and_weights(config, mine):
    parts.activate([mine])
    config = json.loads(json.dumps(config))
    config["runs"]["fine"] = {
        "real": "celeba", "synthetic": False, "synthetic_per_real": None, "network": {"name": "pooled", "width": 4},
        "method": "reweight", "initial_weights": "results/models/synthetic/{seed}/model.safetensors", "epochs": 3,
    }  # fmt: skip
    recipe = run_recipe(config, "fine", 7)
    assert recipe["settings"]["network"] == {"name": "pooled", "width": 4} and recipe["settings"]["epochs"] == 3
    assert recipe["settings"]["batch_size"] == config["training"]["batch_size"] and "seeds" not in recipe["settings"]
    start = "results/models/synthetic/7/model.safetensors"
    assert run_files(config, "fine", 7) == {start: "runs.fine.initial_weights"}
    plain = run_recipe(config, "real", 7)
    assert plain["settings"]["method"] == "erm" and plain["settings"]["network"] == "slim_cnn"
    assert run_files(config, "real", 7) == {}


def test_the_examples_of_the_documentation_work(faces, config, shipped_config, mine, tmp_path, root):
    page = (root / "docs/training.md").read_text(encoding="utf-8")
    runs, method = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("yaml", "python"))
    (mine / "worst_group.py").write_text(method)
    parts.activate([mine, tmp_path])  # another list of folders: the first is read again
    manifest = fit(faces, tmp_path / "m", {**QUICK, "method": {"name": "worst_group", "eta": 0.3}})
    assert manifest["method"] == {"name": "worst_group", "eta": 0.3}
    assert float(pd.read_csv(tmp_path / "m/log.csv")["validation_loss"].iloc[-1]) < 1
    changed = {
        **shipped_config,
        **yaml.safe_load(runs),
        "evaluation": {**shipped_config["evaluation"], "baseline": "real"},
    }
    changed["training"] = {**shipped_config["training"], **changed["training"]}
    assert set(check_config(changed)["runs"]) == {"real", "fair", "small", "fine_tuned", "synthetic"}
