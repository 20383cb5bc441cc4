"""A method of one's own: only the hardest half of every batch counts."""

from pydantic import Field

from evenface.parts import Method, Needs, Settings


class HardestSettings(Settings):
    share: float = Field(0.5, gt=0, le=1, description="Share of a batch that counts.")


def create(problem, settings):
    from evenface.training.method import Classification

    class Hardest(Classification):
        keeps = ("seen",)
        seen = 0

        def loss(self, outputs, features, rows):
            self.seen += len(rows)
            losses = (self.losses(outputs, rows) * self.defined(rows)).mean(1)
            return losses.topk(max(round(settings.share * len(rows)), 1)).values.mean()

    return Hardest(problem, settings)


PART = Method(
    name="hardest",
    summary="Only the hardest images of a batch count.",
    code=create,
    settings=HardestSettings,
    needs=Needs(gpu=1, mem_mb=10000),
)
