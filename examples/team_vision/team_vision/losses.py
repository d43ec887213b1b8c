"""Losses."""

from torch import Tensor, nn


class Focal(nn.Module):
    """Cross entropy that counts a sample the less, the surer its answer is right."""

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, output: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the samples."""
        entropy = nn.functional.cross_entropy(output, labels, reduction="none")
        return ((1 - (-entropy).exp()) ** self.gamma * entropy).mean()
