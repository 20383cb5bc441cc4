"""Mitigation methods against numbers made with the code that their authors published."""

import numpy as np
import pytest
import torch

from contract.fill import Reference, generator
from evenface.training.methods.dfr import averaged, fit_l1, group_accuracies, standardised
from evenface.training.methods.fscl import fair_contrastive
from evenface.training.methods.group_dro import GroupWeights
from evenface.training.methods.jtt import repeated
from evenface.training.methods.leia import adjust, error_directions, error_weights, label_score
from evenface.training.methods.lff import RunningLoss, difficulty, generalised
from evenface.training.selection import numbers, rates
from evenface.training.target_groups import first_of_each, sampling_weights

#: Relative to the largest number of an array, in float64.
EXACT = 1e-12


def close(ours, reference, tolerance=EXACT):
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= tolerance * max(np.abs(reference).max(), 1e-300)


@pytest.fixture(scope="module")
def groupdro():
    return Reference.load("groupdro")


def dro_batches():
    for b in range(20):
        random = generator(1, "groupdro", f"batch:{b}")
        u, z = random.random(32), None
        z = 2 * random.standard_normal((32, 2))
        group = (u[:, None] >= np.array([0.5, 0.75, 0.9])).sum(1)
        if b in (4, 5, 9):
            group[group == 3] = 0
        if b == 12:
            group[:] = 0
        yield b, torch.tensor(z, requires_grad=True), torch.tensor(group)


@pytest.mark.parametrize("name", "ABCDEFG")
def test_group_dro(groupdro, name):
    settings = groupdro.manifest["settings"]
    configuration, arrays = settings["configurations"][name], groupdro.arrays
    counts = torch.tensor(settings["group_counts"], dtype=torch.float64)
    weights = GroupWeights(
        counts, configuration["step"], torch.tensor(configuration["C"], dtype=torch.float64),
        normalise=configuration["norm"], worst_share=settings["alpha"] if configuration["btl"] else None,
        gamma=settings["gamma"],
    )  # fmt: skip
    plain = GroupWeights(
        counts,
        configuration["step"],
        torch.tensor(configuration["C"], dtype=torch.float64),
        normalise=configuration["norm"],
    )
    losses, without, qs, running = [], [], [], []
    for b, logits, group in dro_batches():
        each = torch.nn.functional.cross_entropy(logits, group // 2, reduction="none")
        loss = weights.loss(each, group, value_with_shift=True)
        without.append(plain.loss(each.detach(), group).item())
        losses.append(loss.item())
        qs.append(weights.q.numpy())
        running.append(weights.running.numpy())
        if f"{name}/grad_batch{b}" in arrays:
            close(torch.autograd.grad(loss, logits)[0], arrays[f"{name}/grad_batch{b}"])
    close(losses, arrays[f"{name}/loss"])
    close(np.array(running), arrays[f"{name}/exp_avg_loss"])
    if f"{name}/q" in arrays:
        close(np.array(qs), arrays[f"{name}/q"])
    if f"{name}/loss_without_shift" in arrays:
        close(without, arrays[f"{name}/loss_without_shift"])


@pytest.fixture(scope="module")
def lff():
    return Reference.load("lff")


def test_learning_from_failure(lff):
    settings, arrays = lff.manifest["settings"], lff.arrays
    labels = generator(1, "lff", "labels").integers(0, 3, size=40)
    assert np.array_equal(labels, arrays["labels"])
    classes = torch.tensor(labels)[:, None]
    running = {net: RunningLoss(classes, settings["ema_alpha"], torch.float64) for net in ("biased", "debiased")}
    for step in range(10):
        rows = torch.tensor(arrays["order"][step // 5][8 * (step % 5) : 8 * (step % 5) + 8].astype(np.int64))
        random = generator(1, "lff", f"logits:{step}")
        logits = {net: torch.tensor(2 * random.standard_normal((8, 3)), requires_grad=True) for net in running}
        y = torch.tensor(labels)[rows]
        losses = {net: torch.nn.functional.cross_entropy(out, y, reduction="none") for net, out in logits.items()}
        for net, loss in losses.items():
            running[net].update(rows, loss[:, None])
        weight = difficulty(running["biased"].relative(rows), running["debiased"].relative(rows))[:, 0]
        probability = logits["biased"].softmax(1).gather(1, y[:, None])[:, 0]
        easy = generalised(losses["biased"], probability, settings["q"])
        total = easy.mean() + (weight * losses["debiased"]).mean()
        close(easy.detach(), arrays["gce"][step])
        close(weight, arrays["weight"][step])
        close(running["biased"].mean[:, 0], arrays["ema_b"][step])
        close(running["debiased"].mean[:, 0], arrays["ema_d"][step])
        close(running["biased"].largest()[:, 0], arrays["max_b"][step])
        close(running["debiased"].largest()[:, 0], arrays["max_d"][step])
        close(total.item(), arrays["loss"][step])
        biased, debiased = torch.autograd.grad(total, list(logits.values()))
        close(biased, arrays["grad_b"][step])
        close(debiased, arrays["grad_d"][step])


@pytest.fixture(scope="module")
def balancing():
    return Reference.load("balancinggroups")


def test_sampling_of_groups_and_classes(balancing):
    random = generator(1, "balancinggroups", "table")
    y = random.random(500) < 0.3
    a = random.random(500) < np.where(y, 0.15, 0.55)
    train = np.flatnonzero((random.random(500)[:, None] >= np.array([0.8, 0.9])).sum(1) == 0)
    arrays = balancing.arrays
    assert np.array_equal(train, arrays["train_rows"])
    groups, classes = (2 * y + a)[train].astype(np.int64), y[train].astype(np.int64)
    assert np.array_equal(np.bincount(groups), arrays["group_sizes"])
    close(sampling_weights(groups), arrays["rwg_weights"])
    close(sampling_weights(classes), arrays["rwy_weights"])
    for name, codes in (("subg", groups), ("suby", classes)):
        kept = first_of_each(codes, arrays[f"{name}/permutation"].astype(np.int64))
        assert np.array_equal(kept, arrays[f"{name}/kept"])
        close(sampling_weights(groups[kept]), arrays[f"{name}/weights_after"])


@pytest.fixture(scope="module")
def jtt():
    return Reference.load("jtt")


def test_errors_are_repeated(jtt):
    random = generator(1, "jtt", "table")
    split = (random.random(600)[:, None] >= np.array([0.7, 0.85])).sum(1)
    y = random.random(600) < 0.3
    s = random.random(600) < np.where(y, 0.15, 0.5)
    z = 1.5 * random.standard_normal((600, 2))
    z[:, 1] += 1.2 * (2 * y - 1) - np.where(y, 0.8 * (2 * s - 1), 0)
    train, arrays = np.flatnonzero(split == 0), jtt.arrays
    wrong = (z.argmax(1) != y)[train]
    assert np.array_equal(train, arrays["train_rows"]) and np.array_equal(train[wrong], arrays["error_set"])
    for factor in (20, 50):
        length, copies = arrays[f"upweight{factor}/length_and_factor"]
        listed = repeated(np.arange(len(train)), wrong, int(copies))
        assert len(listed) == length and copies == factor
        positions = arrays[f"upweight{factor}/positions"]
        assert np.array_equal(listed[len(train) :][: len(positions)], np.tile(np.sort(positions[: wrong.sum()]), 3))
        assert set(positions[: wrong.sum()]) == set(np.flatnonzero(wrong))


@pytest.fixture(scope="module")
def dfr():
    return Reference.load("dfr")


def dfr_split(name):
    random = generator(1, "dfr", f"embeddings:{name}")
    count, shares = {
        "train": (900, (0.72, 0.05, 0.03)),
        "val": (600, (0.45, 0.2, 0.1)),
        "test": (800, (0.45, 0.2, 0.1)),
    }[name]
    group = (random.random(count)[:, None] >= np.cumsum(shares)).sum(1)
    y, a = group // 2, group % 2
    x = random.standard_normal((count, 32))
    x[:, 0] += 1.0 * (2 * y - 1)
    x[:, 1] += 1.6 * (2 * a - 1)
    x[:, 2] += 0.4 * (2 * y - 1) * (1 + a)
    x = (x * np.linspace(0.5, 2, 32) + np.linspace(-1, 1, 32)).astype(np.float32)
    return x, y.astype(bool), group


def test_last_layer_retraining(dfr):
    arrays, strengths = dfr.arrays, dfr.manifest["settings"]["C_options"]
    (train, *_), (val, y, group), (test, test_y, test_group) = (dfr_split(name) for name in ("train", "val", "test"))
    order = arrays["tune/permutation"].astype(np.int64)
    score, rows = order[:300], arrays["tune/fit_rows"].astype(np.int64)
    assert set(rows) <= set(order[300:]) and (np.bincount(group[rows]) == 27).all()
    own = (val - val[rows].mean(0, dtype=np.float64)) / val[rows].std(0, dtype=np.float64)
    found = [fit_l1(own[rows], y[rows], c) for c in strengths]
    assert np.abs(np.array(found) - arrays["tune/coef"]).max() < 1e-3
    accuracies = [group_accuracies(one, own[score], y[score], group[score]) for one in found]
    close(np.array(accuracies), arrays["tune/group_accuracies"])
    best = strengths[int(np.argmax([one.min() for one in accuracies]))]
    assert best == arrays["tune/best"][0]

    scaled, mean, deviation = standardised(val, train)
    for name, c in (("best", best), ("C1.0", 1.0), ("C0.01", 0.01)):
        subsets = arrays[f"eval_val/{name}/rows"].astype(np.int64)
        average = averaged(scaled, y, subsets, c)
        assert np.abs(average - arrays[f"eval_val/{name}/coef_intercept"]).max() < 1e-3
        tight = averaged(scaled, y, subsets, c, tolerance=1e-10, iterations=5000)
        assert np.abs(tight - arrays[f"eval_val/{name}/coef_intercept_tight"]).max() < 1e-6
        seen = group_accuracies(average, (test - mean) / deviation, test_y, test_group)
        expected = arrays[f"eval_val/{name}/test_group_acc_mean_worst"]
        assert np.abs(seen - expected[:4]).max() <= 1 / np.bincount(test_group).min()


@pytest.fixture(scope="module")
def subpopbench():
    return Reference.load("subpopbench")


def test_rules_that_select(subpopbench):
    """Numbers of every checkpoint, and the checkpoint that each rule picks: the first of equals."""
    picks = {"avg": "ValMeanAcc", "worst_group": "ValWorstAccAttributeYes", "worst_class": "ValWorstAccAttributeNo"}
    for run in range(4):
        seen: dict[str, list[float]] = {"avg": [], "worst_group": [], "worst_class": []}
        groups = []
        for step in range(12):
            random, k = generator(1, "subpopbench", f"va:{run}:{step}"), step / 11
            y = random.random(300) < 0.25
            a = random.random(300) < np.where(y, 0.2, 0.5)
            z = random.standard_normal((300, 2))
            z[:, 1] += (2 * y - 1) * (0.6 + 0.9 * k) - (y & a) * (1.2 - 1.6 * k * (1 - k))
            z[:, 1] += y * 0.9 * np.sin(5 * k + run) - ~y * 0.3 * np.cos(7 * k)
            right = (z[:, 1] >= z[:, 0]) == y
            labels = np.where(y, 1, -1)[:, None]
            found = numbers(right[:, None], labels, a.astype(np.int64))
            for name in ("worst_group", "worst_class"):
                seen[name].append(found[name])
            seen["avg"].append(right.mean())
            groups.append(rates(right, 2 * y + a))
        for name, values in seen.items():
            close(values, subpopbench.arrays[f"run{run}/va/{name}"])
            assert int(np.argmax(values)) == subpopbench.arrays[f"run{run}/pick/{picks[name]}"]
        close(np.array(groups), subpopbench.arrays[f"run{run}/va/group_accuracy"])


@pytest.fixture(scope="module")
def fscl():
    return Reference.load("fscl")


LAYOUTS = "balanced16 emptygroup16 multi32 oneprotected16 onetarget16 random32 singleton16 skewed32".split()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["FSCL", "FSCLplus"])
def test_fair_contrastive_loss(fscl, layout, name):
    arrays = fscl.arrays
    target, protected = (torch.tensor(arrays[f"{layout}/{key}"].astype(np.int64)) for key in "ts")
    drawn = generator(1, "fscl", f"features:{layout}").standard_normal((len(target), 2, 16))
    features = torch.tensor(drawn / np.linalg.norm(drawn, axis=2, keepdims=True), requires_grad=True)
    how = {"even_groups": name == "FSCLplus"}
    published = fair_contrastive(features, target, protected, shifted=True, **how)
    close(published.item(), arrays[f"{layout}/{name}/loss_f64"])
    loss = fair_contrastive(features, target, protected, **how)
    if f"{layout}/{name}/loss_unshifted" in arrays:
        close(loss.item(), arrays[f"{layout}/{name}/loss_unshifted"])
    (gradient,) = torch.autograd.grad(loss, features)
    close(gradient, arrays[f"{layout}/{name}/grad_f64"], 1e-6)


@pytest.fixture(scope="module")
def leia():
    return Reference.load("leia")


def leia_split(name):
    random = generator(1, "leia", f"embeddings:{name}")
    count, shares = {
        "train": (500, (0.7, 0.06, 0.04)),
        "val": (300, (0.4, 0.2, 0.15)),
        "test": (300, (0.4, 0.2, 0.15)),
    }[name]
    group = (random.random(count)[:, None] >= np.cumsum(shares)).sum(1)
    y, a = group // 2, group % 2
    x = random.standard_normal((count, 16))
    x[:, 0] += 0.8 * (2 * y - 1)
    x[:, 1] += 1.5 * (2 * a - 1)
    return x, y, group


@pytest.mark.parametrize("number", range(4))
def test_adjustment_along_errors(leia, number):
    key = "configurations (name, gamma, rank, reg_coeff, gradient clipping norm, lr)"
    name, gamma, rank, penalty, clip, rate = leia.manifest["settings"][key][number]
    arrays, random = leia.arrays, generator(1, "leia", "base")
    weight, bias = 0.15 * random.standard_normal((2, 16)), 0.1 * random.standard_normal(2)
    weight[1, 0], weight[1, 1], weight[0, 0], weight[0, 1] = weight[1, 0] + 0.5, weight[1, 1] + 0.7, weight[0, 0] - 0.5, weight[0, 1] - 0.7  # fmt: skip
    (x, y, _), (val, val_y, val_group), (test, test_y, test_group) = map(leia_split, ("train", "val", "test"))
    order = arrays["split_permutation"].astype(np.int64)
    choose, fit = order[:400], order[400:]
    logits = x @ weight.T + bias
    p = np.exp(logits[np.arange(500), y]) / np.exp(logits).sum(1)
    weights, train_weights = error_weights(p[choose], y[choose], gamma), error_weights(p[fit], y[fit], gamma)
    close(weights, arrays[f"{name}/weights"])
    close(train_weights, arrays[f"{name}/train_weights"])
    directions, values = error_directions(x[choose], weights, rank)
    close(values, arrays[f"{name}/eigenvalues"])
    if f"{name}/projector" in arrays:
        close(directions @ directions.T, arrays[f"{name}/projector"], 1e-11)
    found = adjust(
        x[fit], y[fit], train_weights, logits[fit], directions, rate=rate, epochs=200, penalty=penalty, clip=clip
    )
    close(found.losses, arrays[f"{name}/loss"])
    for epoch in (1, 10, 200):
        close(found.added[epoch - 1], arrays[f"{name}/VA_{epoch}"], 1e-11)
    scores, worst, tested = [], [], []
    for added in found.added:
        now = val @ (weight.T + added) + bias
        scores.append(label_score(now, val_y))
        worst.append(rates(now.argmax(1) == val_y, val_group).min())
        tested.append(rates((test @ (weight.T + added) + bias).argmax(1) == test_y, test_group).min())
    close(scores, arrays[f"{name}/val_exp_weighted"], 1e-6)
    close(worst, arrays[f"{name}/val_wga"], 1e-7)
    best = int(np.argmax(worst))
    epoch, value, at_best, _ = arrays[f"{name}/selection"]
    assert best in (int(epoch), int(epoch) - 1) and abs(worst[best] - value) < 1e-6
    assert abs(tested[best] - at_best) < 1e-6
