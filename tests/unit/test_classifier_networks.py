"""Trainable classifiers from torchvision: the same outputs for the same weights, and their published files as a start."""

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from evenface import networks
from evenface.checkpoints import load_initial
from evenface.errors import UserError
from evenface.parts import IMAGENET, Network, parts
from evenface.training import predict, train
from evenface.training.settings import ClassifierSettings, input_size, resolve
from faces import make_faces

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
TORCHVISION = ("resnet18", "resnet34", "resnet50", "vgg16", "googlenet")


def theirs(name, outputs):
    from torchvision import models

    more = {"aux_logits": False, "transform_input": True, "init_weights": False} if name == "googlenet" else {}
    return getattr(models, name)(num_classes=outputs, **more).eval()


def normalised(mean, deviation):
    return (IMAGES - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]


@pytest.mark.parametrize("name", TORCHVISION)
def test_outputs_are_torchvisions(name):
    torch.manual_seed(2)
    network, part = networks.build(name, {}, 3).eval(), parts(Network)[name]
    other = theirs(name, 3)
    other.load_state_dict(network.state_dict())
    with torch.inference_mode():
        found = network(normalised(part.mean, part.deviation))
        expected = other(normalised(**IMAGENET))
        parted = network.classify(network.embed(normalised(part.mean, part.deviation)))
    assert found.shape == (2, 3) and torch.allclose(found, expected, atol=1e-5), (found, expected)
    assert torch.allclose(parted, found)


@pytest.mark.parametrize("name", [*TORCHVISION, "vit_small"])
def test_every_part_learns(name):
    """Each gives embeddings and logits, in its smallest size too, and a gradient reaches its first layer."""
    part = parts(Network)[name]
    network = networks.build(name, {}, 2).train()
    width, height = part.smallest
    network.classify(network.embed(torch.rand(2, 3, height, width))).sum().backward()
    assert next(network.parameters()).grad is not None


@pytest.mark.parametrize("name", TORCHVISION)
def test_published_files_start_a_training(tmp_path, name):
    """A file for 1000 classes gives every layer but the last; GoogLeNet's has auxiliary classifiers, which are left out."""
    from torchvision import models

    if name == "googlenet":
        published = models.googlenet(aux_logits=True, init_weights=False)
    else:
        published = getattr(models, name)()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = networks.build(name, {}, 3)
    head = [n for n, t in network.state_dict().items() if t.shape[:1] == (3,) and t.ndim < 3]
    assert load_initial(network, tmp_path / "published.pth", name, head) == head
    expected = published.state_dict()
    for tensor_name, tensor in network.state_dict().items():
        assert tensor_name in head or torch.equal(tensor, expected[tensor_name]), tensor_name


def test_files_of_another_network_are_refused(tmp_path):
    from torchvision import models

    torch.save(models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(UserError, match=r"resnet34\.pth"):
        load_initial(networks.build("resnet18", {}, 3), tmp_path / "resnet34.pth", "resnet18", ["fc.weight", "fc.bias"])


class Block(nn.Module):
    """A layer of DeiT-S with its published names: queries, keys and values in one matrix, in this order."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(384, eps=1e-6) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(384, 3 * 384), "proj": nn.Linear(384, 384)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(384, 1536), "fc2": nn.Linear(1536, 384)})

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).view(n, tokens, 3, 6, width // 6).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (width // 6) ** -0.5).softmax(-1)
        x = x + self.attn["proj"]((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class DeiT(nn.Module):
    """DeiT-S by its paper and the names in its file."""

    def __init__(self, classes=1000):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 384))
        self.pos_embed = nn.Parameter(torch.randn(1, 197, 384))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 384, 16, 16)})
        self.blocks = nn.Sequential(*(Block() for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(384, eps=1e-6), nn.Linear(384, classes)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def test_the_vision_transformer_takes_deits_file(tmp_path):
    torch.manual_seed(3)
    published, network = DeiT(5).eval(), networks.build("vit_small", {}, 5).eval()
    torch.save({"model": published.state_dict()}, tmp_path / "deit.pth")
    assert load_initial(network, tmp_path / "deit.pth", "vit_small") == []
    with torch.inference_mode():
        images = torch.rand(1, 3, 224, 224)
        assert torch.allclose(network(images), published(images), atol=1e-4)


def test_the_vision_transformer_has_one_size():
    settings = resolve(ClassifierSettings, {"network": "vit_small"}, "training")
    assert input_size(settings) == (224, 224)
    other = resolve(ClassifierSettings, {"network": "vit_small", "image_size": [256, 256]}, "training")
    with pytest.raises(UserError, match=r"training\.image_size is \[256, 256\].*leave this key out"):
        input_size(other)


def test_a_trained_file_loads_in_plain_pytorch(tmp_path, monkeypatch, root):
    """The lines of docs/training.md give the scores that the workflow writes."""
    faces = make_faces(tmp_path, 24)
    model = tmp_path / "results/models/real/1/model.safetensors"
    model.parent.mkdir(parents=True)
    settings = {"network": "resnet18", "epochs": 1, "batch_size": 8, "image_size": [40, 32]}
    train(faces, ["Black_Hair", "Blond_Hair"], settings, model, log_path=model.with_name("log.csv"), seed=1)
    found = predict(model, faces, tmp_path / "predictions.parquet", max_unreadable=1)

    page = (root / "docs/training.md").read_text(encoding="utf-8")
    lines = page[page.index("import json, numpy") :].partition("```")[0]
    assert len([line for line in lines.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    from evenface.storage.images import read_image

    Image.fromarray(read_image(faces["image"].iloc[3])).save("face.png")
    names = {}
    exec(lines, names)
    expected = found[found["image_id"] == faces["image_id"].iloc[3]].iloc[0]
    for attribute, score in names["scores"].items():
        assert abs(score - expected[f"score_{attribute}"]) < 1e-4


def test_two_networks_in_one_configuration(tmp_path, config):
    """Two runs with networks of their own, each with its own input; a file of the other network is refused."""
    from evenface.configuration import check_config
    from evenface.storage.tables import write_table
    from evenface.training.runs import train_run
    from evenface.training.settings import run_recipe

    quick = {"epochs": 1, "batch_size": 8, "precision": "float32"}
    config["training"] |= {"attributes": ["Black_Hair", "ethnicity"], **quick}
    config["evaluation"] |= {"attributes": ["Black_Hair", "ethnicity"], "baseline": "small"}
    config["runs"] = {
        "small": {"real": "celeba", "image_size": [131, 131]},
        "deep": {"real": "celeba", "network": "resnet18", "image_size": [64, 64]},
    }
    settings = check_config(config)
    faces = make_faces(tmp_path / "faces", 24)
    write_table(faces, tmp_path / "faces.parquet", kind="faces", meta={})
    for run, name, rows in (("small", "slim_cnn", 131), ("deep", "resnet18", 64)):
        (tmp_path / run).mkdir()
        model = tmp_path / run / "m.safetensors"
        made = train_run(
            {"real": tmp_path / "faces.parquet"}, run_recipe(settings, run, 1), model, tmp_path / run / "log.csv"
        )
        assert made["network"]["name"] == name and made["input"]["rows"] == rows
        table = predict(model, faces, tmp_path / run / "p.parquet", split="test")
        assert len(table) == (faces["split"] == "test").sum() and table["score_ethnicity=asian"].between(0, 1).all()
    recipe = run_recipe(settings, "deep", 1)
    recipe["settings"]["initial_weights"] = str(tmp_path / "small/m.safetensors")
    with pytest.raises(
        UserError,
        match=r"small/m\.safetensors.*of the network slim_cnn, and resnet18 is trained; set network: slim_cnn",
    ):
        train_run(
            {"real": tmp_path / "faces.parquet"}, recipe, tmp_path / "deep/n.safetensors", tmp_path / "deep/n.csv"
        )
