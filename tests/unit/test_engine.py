"""The one training loop: any method, the weights it selects, and resumption to the same bytes whatever it keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from resumption import states_of
from torch import nn

from evenface.errors import UserError
from evenface.training import loop
from evenface.training.method import Method
from evenface.training.session import Session
from evenface.training.settings import LoopSettings, StepSettings
from evenface.training.steps import StepMethod

ROWS = np.arange(24)
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, :1] > 0).float()


class Odd(Method):
    """Two networks with dropout, one of them frozen in part, and a state of every kind."""

    steps, round = 8, 4
    keeps = ("shares", "seen", "counter", "history", "words")

    def __init__(self, **settings):
        torch.manual_seed(3)
        self.loop = LoopSettings(**{"learning_rate": 0.05, "save_seconds": 0, **settings})
        self.networks = {
            "network": nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.3), nn.Linear(6, 1)),
            "other": nn.Linear(5, 1),
        }
        self.networks["network"][0].bias.requires_grad_(False)
        self.shares = torch.ones(3) / 3
        self.seen = np.zeros(24, np.int32)
        self.counter, self.history, self.words = 0, [(1, [2.5])], {"last": "", "none": None, "flag": np.bool_(True)}

    def rate(self, step):
        return self.loop.learning_rate / (1 + step)

    def batch(self, step):
        rows = np.random.default_rng(step).permutation(24)[:6]
        return SimpleNamespace(rows=rows, x=X[rows])

    def loss_of(self, batch):
        self.counter += 1
        self.seen[batch.rows] += 1
        self.shares = torch.softmax(self.shares + 0.1 * float(self.seen[0]), 0) + torch.rand(3)
        self.history.append((self.counter, [float(self.shares[0])]))
        self.words["last"] = f"step {self.counter}"
        weight = 1 + self.shares[self.counter % 3]
        both = self.networks["network"](batch.x) + self.networks["other"](batch.x)
        loss = weight * nn.functional.binary_cross_entropy_with_logits(both, Y[batch.rows])
        return loss, {"weight": float(weight)}

    def validate(self):
        with torch.no_grad():
            out = self.networks["network"](X) + self.networks["other"](X)
        return {"loss": float((out.sigmoid() - Y).abs().mean()), "right": float(((out > 0) == (Y > 0)).float().mean())}


class StateDecides(Odd):
    """The next batch follows from what was seen: no batch may be made ahead."""

    ahead = False

    def batch(self, step):
        rows = np.argsort(self.seen, kind="stable")[:6]
        return SimpleNamespace(rows=rows, x=X[rows])


class Highest(Odd):
    selects = ("right", "max")


class Last(Odd):
    selects = None


def outcome(method, fitted):
    """All that a training leaves behind."""
    weights = nn.ModuleDict(method.networks).state_dict()
    return {name: tensor.tolist() for name, tensor in weights.items()}, fitted, repr(method.state())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Odd, {"optimiser": "sgd", "clip": 0.1}),
        (StateDecides, {"optimiser": "adamw", "average": 0.9}),
        (Highest, {"optimiser": "adam"}),
        (Last, {"average": 0.5}),
    ],
)
def test_going_on_from_any_step_gives_the_same_weights_numbers_and_state(kind, settings, tmp_path):
    def run(**more):
        method = kind(**settings, **more)
        return outcome(method, loop.fit(method, digest="d", state_path=tmp_path / "state.pt"))

    expected, states = states_of(run)
    assert len(states) == 8 + 1, "one after every step, and one at the end"
    for i, state in enumerate(states):
        (tmp_path / "state.pt").write_bytes(state)
        assert run(save_seconds=60) == expected, f"from state {i}"
    assert expected[1].history[0].keys() == {
        "epoch", "learning_rate", "train_loss", "train_weight", "validation_loss", "validation_right",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"a"}, "set"),
        (np.zeros(2, np.uint32), "uint32"),
        (torch.zeros(1, dtype=torch.cfloat), "complex64"),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(value, what, tmp_path):
    method = Odd()
    method.words = {"kinds": [value]}
    with pytest.raises(TypeError, match=rf"state\(\)\['words'\]\['kinds'\]\[0\] is a .*{what}.*; keep tensors"):
        loop.fit(method, state_path=tmp_path / "state.pt")


class Scripted(Method):
    """Weights that count rounds, judged by numbers that are given."""

    round = 2
    selects = ("score", "max")

    def __init__(self, scores, patience=0, **settings):
        self.networks = {"network": nn.Linear(1, 1, bias=False)}
        self.networks["network"].weight.data.fill_(0.0)
        self.scores, self.patience, self.steps = scores, patience, 2 * len(scores)
        self.loop = LoopSettings(
            **{"optimiser": "sgd", "learning_rate": 0.5, "momentum": 0, "weight_decay": 0, **settings}
        )
        self.judged = []

    def rate(self, step):
        return self.loop.learning_rate

    def batch(self, step):
        return SimpleNamespace(rows=np.arange(1))

    def loss_of(self, batch):
        return -self.networks["network"].weight.sum(), {}

    def validate(self):
        self.judged.append(self.networks["network"].weight.item())
        return {"score": self.scores[len(self.judged) - 1]}


@pytest.mark.parametrize(
    ("selects", "patience", "kept", "epochs"),
    [
        (("score", "max"), 0, 2, 5),  # the first of equals
        (("score", "min"), 0, 4, 5),
        (("score", "max"), 2, 2, 4),
        (None, 2, 5, 5),
    ],
)
def test_the_method_says_which_number_selects_and_which_way(selects, patience, kept, epochs):
    method = Scripted([1.0, 3.0, 3.0, 0.0, 2.0], patience)
    method.selects = selects
    fitted = loop.fit(method)
    assert method.networks["network"].weight.item() == kept and len(fitted.history) == epochs
    assert fitted.best_epoch == (kept if selects else 0)


def test_a_method_may_prefer_the_later_of_equals():
    class Later(Scripted):
        def better(self, numbers, best):
            return numbers["score"] >= best["score"]

    method = Later([1.0, 3.0, 3.0, 0.0])
    assert loop.fit(method).best_epoch == 3


def test_averaged_weights_are_judged_and_kept_where_they_are_wanted():
    method = Scripted([1.0, 2.0, 3.0], average=0.5)
    loop.fit(method)
    # The plain weights are 1, 2, 3 at the ends of rounds; their running mean lags behind.
    assert method.judged[0] < 1 and method.judged[2] < 3
    assert method.networks["network"].weight.item() == method.judged[2]


def test_frozen_weights_stay_and_groups_have_their_own_rates():
    class Groups(Scripted):
        def __init__(self):
            super().__init__([1.0], weight_decay=0.1)
            self.networks["slow"], self.networks["frozen"] = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
            for network in self.networks.values():
                network.weight.data.fill_(1.0)
            self.networks["frozen"].requires_grad_(False)

        def parameters(self):
            return [
                {"params": self.networks["network"].parameters()},
                {"params": self.networks["slow"].parameters(), "rate_factor": 0.1, "weight_decay": 0},
            ]

        def loss_of(self, batch):
            return -sum(network.weight.sum() for network in self.networks.values()), {}

    method = Groups()
    method.steps = 1
    method.round = 1
    loop.fit(method)
    weights = {name: network.weight.item() for name, network in method.networks.items()}
    assert weights == pytest.approx({"network": 1 + 0.5 * (1 - 0.1), "slow": 1 + 0.05, "frozen": 1.0})
    method.networks["network"].requires_grad_(False)
    nothing = Scripted([1.0])
    nothing.networks["network"].requires_grad_(False)
    with pytest.raises(UserError, match="every parameter is frozen"):
        loop.fit(nothing)


def test_a_finished_stage_is_not_trained_again(tmp_path):
    steps = []

    class Stage(Scripted):
        def loss_of(self, batch):
            steps.append(len(steps))
            return super().loss_of(batch)

    def run(fail):
        session = Session(tmp_path / "model.safetensors", LoopSettings(), seed=1, device="cpu")
        first = Stage([1.0, 2.0])
        session.fit(first, "first stage")
        second = Stage([1.0, 2.0])
        second.networks["network"].load_state_dict(first.networks["network"].state_dict())
        if fail:
            raise KeyboardInterrupt
        return session.fit(second, "second"), second.networks["network"].weight.item()

    with pytest.raises(KeyboardInterrupt):
        run(True)
    assert len(steps) == 4
    assert run(False)[1] == 4 and len(steps) == 8, "two rounds of the first stage, then two of the second"
    assert {p.name for p in (tmp_path / "model.partial").iterdir()} == {"first_stage.pt", "second.pt"}


def test_a_loss_that_is_no_number_stops_with_a_sentence():
    class Broken(Scripted):
        def loss_of(self, batch):
            return self.networks["network"].weight.sum() * np.nan, {}

    with pytest.raises(UserError, match="the loss became nan in epoch 1 of 1, step 1 of 2; lower learning_rate"):
        loop.fit(Broken([1.0]))


# Trainings of so many steps.


class Walk(StepMethod):
    """One weight that is drawn to 2."""

    def __init__(self, tmp_path, **settings):
        settings = StepSettings(**settings)
        session = Session(tmp_path / "out", settings, seed=1, device="cpu")
        layer = nn.Linear(1, 1, bias=False)
        layer.weight.data.fill_(0.0)
        super().__init__(session, {"layer": layer}, np.arange(10), settings)
        self.passed = []

    def content(self, rows, step, generator):
        return torch.rand(1, generator=generator)

    def loss_of(self, batch):
        weight = self.networks["layer"].weight
        self.passed.append(weight.item())
        return (weight - 2).square().sum(), {"drawn": float(batch.content)}


def test_batches_pass_over_everything_before_they_repeat(tmp_path):
    walk = Walk(tmp_path, batch_size=4)
    rows = np.concatenate([walk.rows(i) for i in range(10)])
    for start in range(0, 40, 10):
        assert sorted(rows[start : start + 10]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:20])
    assert list(Walk(tmp_path, batch_size=4).rows(7)) == list(rows[28:32])


def test_the_step_size_rises_stays_and_falls(tmp_path):
    walk = Walk(tmp_path, steps=100, warmup=10, decay=0.2, learning_rate=1.0)
    rates = [walk.rate(i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9:80] == [1.0] * 71
    assert rates[90] == pytest.approx(0.5) and rates[99] == pytest.approx(0.05)


def test_the_average_follows_the_weights_slowly_and_is_what_is_left(tmp_path):
    walk = Walk(tmp_path, steps=100, learning_rate=0.01, warmup=1, decay=0.0, average=0.99, log_every=40)
    fitted = loop.fit(walk)
    assert walk.passed[-1] > 0.8
    assert np.mean(walk.passed) < walk.networks["layer"].weight.item() < walk.passed[-1] - 0.05
    assert [row["step"] for row in fitted.history] == [40, 80] and fitted.history[0].keys() == {
        "step", "learning_rate", "loss", "drawn",
    }  # fmt: skip
