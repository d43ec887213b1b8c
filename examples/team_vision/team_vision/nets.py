"""Networks."""

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions and their input, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.body(x))


def build(*, channels: int = 1, width: int = 8, blocks: int = 1, classes: int = 4) -> nn.Module:
    """Build a small residual network for images of any size."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        *(Block(width) for _ in range(blocks)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(width, classes),
    )
