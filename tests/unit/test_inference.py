"""Networks prepared for inference compute the same, for all precisions, batch sizes and numbers of threads."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from evenface.networks.inference import fold_batch_norms, map_batches, prepare_for_inference


class Branched(nn.Module):
    """Every place a batch norm can stand: after a convolution, shared, before one, after a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.prelu = nn.PReLU(8)
        self.forked = nn.Conv2d(8, 8, 3, padding=1)
        self.forked_bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 25, 6)
        self.features = nn.BatchNorm1d(6)

    def forward(self, x):
        x = self.prelu(self.bn(self.conv(self.first(x))))
        y = self.forked(x)
        return self.features(self.fc((self.forked_bn(y) + y).flatten(1)))


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = Branched().eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


@pytest.fixture
def batch():
    return torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def norms(network):
    return [name for name, m in network.named_modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]


def test_only_batch_norms_that_can_be_folded_are(network, batch):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prepared = prepare_for_inference(network)
    assert norms(prepared.network) == ["first", "forked_bn"]
    with torch.inference_mode():
        expected, got = network(batch), prepared(batch)
    assert torch.allclose(expected, got, rtol=1e-5, atol=1e-5)
    assert not any(p.requires_grad for p in prepared.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert len(norms(network)) == 4


def test_a_module_that_is_called_twice_is_left_alone(batch):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.conv(self.bn(self.conv(x)))

    twice = Twice().eval()
    nn.init.uniform_(twice.bn.running_var, 0.5, 2)
    assert norms(fold_batch_norms(twice)) == ["bn"]


def test_bfloat16_stays_close_and_answers_in_float32(network, batch):
    prepared = prepare_for_inference(network, "bfloat16")
    assert prepared.network.conv.weight.dtype == torch.bfloat16
    assert prepared.network.first.running_var.dtype == torch.float32
    with torch.inference_mode():
        expected, got = network(batch), prepared(batch)
    assert got.dtype == torch.float32
    error = (expected - got).abs().max() / expected.abs().max()
    assert 0 < error < 0.02


def _check(x):
    if x.shape[-1] != 5:
        raise ValueError("five columns are needed")


torch.fx.wrap("_check")


def test_a_wrapped_check_of_the_input_survives_and_a_bare_one_is_refused(network, batch):
    class Checked(Branched):
        def forward(self, x):
            _check(x)
            return super().forward(x)

    class Bare(Branched):
        def forward(self, x):
            return super().forward(x) if x.shape[-1] == 5 else x

    prepared = prepare_for_inference(Checked())
    assert prepared(batch).shape == (4, 6)
    with pytest.raises(ValueError, match="five columns"):
        prepared(batch[..., :4])
    with pytest.raises(ValueError, match="forward of Bare cannot be traced"):
        prepare_for_inference(Bare())


def test_an_unknown_precision_is_refused(network):
    with pytest.raises(ValueError, match="float16"):
        prepare_for_inference(network, "float16")


def test_results_do_not_depend_on_the_threads(network):
    prepared = prepare_for_inference(network)
    batches = [torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(i)) for i in range(9)]
    one, three = ([r.numpy() for r in map_batches(prepared, batches, threads)] for threads in (1, 3))
    assert len(one) == 9 and all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


def test_work_is_done_side_by_side_and_a_little_ahead():
    meeting = threading.Barrier(2, timeout=20)
    assert list(map_batches(lambda i: (meeting.wait(), i)[1], range(4), 2)) == [0, 1, 2, 3]
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = map_batches(lambda i: i, items(), 2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_an_error_is_raised_where_results_are_read_and_the_thread_count_returns(three_threads):

    def fail(i):
        assert torch.get_num_threads() == 1 and torch.is_inference_mode_enabled()
        if i == 2:
            raise RuntimeError("broken batch")
        return i

    results = map_batches(fail, range(5), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="broken batch"):
        next(results)
    assert torch.get_num_threads() == 3
