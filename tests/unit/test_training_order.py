"""The order of samples: a pure function of seed and epoch."""

import torch

from worker.training.order import drawn, epoch_order


def test_an_order_holds_every_sample_once() -> None:
    assert sorted(epoch_order(3, 1, 100).tolist()) == list(range(100))


def test_the_same_seed_and_epoch_give_the_same_order_whatever_was_drawn_before() -> None:
    first = epoch_order(3, 7, 100)
    torch.rand(1000)
    epoch_order(3, 6, 100)
    assert torch.equal(epoch_order(3, 7, 100), first)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(epoch_order(seed, epoch, 50).tolist()) for seed in (0, 1) for epoch in (1, 2)]
    assert len(set(orders)) == 4


def test_the_largest_seed_is_taken() -> None:
    assert len(epoch_order(2**63 - 1, 1_000_000, 10)) == 10


def test_a_drawn_subset_is_ascending_and_has_no_sample_twice() -> None:
    chosen = drawn(5, "train_samples", 1000, 200).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 200
