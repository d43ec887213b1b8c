"""Train a network on stripes."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from team_vision.data import load
from team_vision.nets import build


def main(epochs=6, lr=0.01):
    train, test = load()
    network = build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    for epoch in range(epochs):
        network.train()
        for x, labels in DataLoader(train, batch_size=16, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            batches = DataLoader(test, batch_size=64)
            right = sum((network(x).argmax(1) == labels).sum().item() for x, labels in batches)
        print(f"epoch {epoch + 1}: {right} of {len(test)} are right")
