"""The same training as other people would write it: by a careful expert, and as tutorials do.

Both have the network, the data set, the loss and the optimizer that the service has for the job,
and judge the test set at each epoch's end. Neither keeps anything of an iteration.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from worker.training.parts import Parts


class Expert:
    """All samples on the device, normalised once; no loader, no synchronisation in an epoch."""

    def __init__(self, parts: Parts) -> None:
        data = parts.data
        self._x, self._labels = data.normalise(data.train.images), data.train.labels
        self._test_x, self._test_labels = data.normalise(data.test.images), data.test.labels
        self._network, self._optimizer = parts.network, parts.learner.optimizer
        self._size, self._test_size = parts.batches.size, parts.evaluation_batch_size
        self._device, self._precision = parts.device, parts.learner.precision

    def epoch(self) -> None:
        self._network.train()
        total = torch.zeros((), device=self._device)
        order = torch.randperm(len(self._labels), device=self._device)
        for index in order.split(self._size):  # type: ignore[no-untyped-call]
            with self._precision.forward():
                output = self._network(self._x[index])
                loss = functional.cross_entropy(output, self._labels[index])
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._optimizer.step()
            total += loss.detach() * len(index)
        total.item()
        self._judge()

    @torch.no_grad()
    def _judge(self) -> None:
        self._network.eval()
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        total = torch.zeros((), device=self._device)
        pieces = zip(
            self._test_x.split(self._test_size),  # type: ignore[no-untyped-call]
            self._test_labels.split(self._test_size),  # type: ignore[no-untyped-call]
            strict=True,
        )
        for x, labels in pieces:
            with self._precision.forward():
                output = self._network(x)
            total += functional.cross_entropy(output, labels, reduction="sum")
            right += (output.argmax(dim=1) == labels).sum()
        total.item()
        right.item()


class Samples(Dataset[tuple[Tensor, int]]):
    """Samples one by one, made a tensor and normalised when they are asked for.

    By the operations of torchvision's ToTensor and Normalize, less the image library.
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        self._images_nhwc = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = labels.tolist()
        self._mean, self._std = mean.flatten().tolist(), std.flatten().tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self._images_nhwc[at].copy()).permute(2, 0, 1).contiguous()
        x = image.to(torch.float32).clone()
        mean = torch.as_tensor(self._mean, dtype=x.dtype).view(-1, 1, 1)
        std = torch.as_tensor(self._std, dtype=x.dtype).view(-1, 1, 1)
        return x.sub_(mean).div_(std), self._labels[at]


class Tutorial:
    """PyTorch's own "Training a classifier": a DataLoader, and the loss read at each batch.

    https://docs.pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html; the two
    processes in which it loads samples, made anew each epoch, are left out: on two cores the same
    loop took 1.4 times as long with them in batches of 64, and 2.7 times in batches of 4 (beside
    other work).
    """

    def __init__(self, parts: Parts) -> None:
        data = parts.data
        self._device, self._precision = parts.device, parts.learner.precision
        mean, std = data.mean.cpu(), data.std.cpu()
        train, test = data.train.to(torch.device("cpu")), data.test.to(torch.device("cpu"))
        self._train = DataLoader(
            Samples(train.images, train.labels, mean, std),
            parts.batches.size,
            shuffle=True,
        )
        self._test = DataLoader(
            Samples(test.images, test.labels, mean, std),
            parts.evaluation_batch_size,
        )
        self._network, self._optimizer = parts.network, parts.learner.optimizer
        self._criterion = nn.CrossEntropyLoss()

    def epoch(self) -> None:
        self._network.train()
        running_loss = 0.0
        for inputs, labels in self._batches(self._train):
            self._optimizer.zero_grad()
            with self._precision.forward():
                outputs = self._network(inputs)
                loss = self._criterion(outputs, labels)
            loss.backward()
            self._optimizer.step()
            running_loss += loss.item()
        correct = total = 0
        self._network.eval()
        with torch.no_grad():
            for images, labels in self._batches(self._test):
                with self._precision.forward():
                    outputs = self._network(images)
                _, predicted = torch.max(outputs, 1)
                total += labels.size(0)
                correct += int((predicted == labels).sum().item())

    def _batches(self, loader: DataLoader[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in loader:
            yield inputs.to(self._device), labels.to(self._device)
