"""A network of one's own: one convolution and a mean."""

from pydantic import Field

from evenface.parts import Needs, Network, Settings


class PooledSettings(Settings):
    width: int = Field(4, ge=1, description="Channels of the convolution.")


def create(outputs, settings):
    from torch import nn

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, settings.width, 5, 4), nn.BatchNorm2d(settings.width), nn.ReLU())
            self.head = nn.Linear(settings.width, outputs)

        def embed(self, x):
            return self.body(x).mean((2, 3))

        def classify(self, features):
            return self.head(features)

        def forward(self, x):
            return self.classify(self.embed(x))

    return Pooled()


PART = Network(
    name="pooled",
    summary="A toy.",
    code=create,
    settings=PooledSettings,
    size=(44, 54),
    smallest=(16, 16),
    needs=Needs(gpu=0, mem_mb=9000),
)
