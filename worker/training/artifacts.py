"""What a training leaves behind."""

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor

from models.domain.artifacts import BEST_WEIGHTS, EVALUATION, SOURCE, WEIGHTS
from models.domain.lifecycle import Phase
from models.domain.numbers import number_or_word
from worker.training.evaluation import Measured, evaluate, report
from worker.training.files import Store
from worker.training.loop import Loop
from worker.training.parts import Parts
from worker.training.pulse import Pulse
from worker.training.sink import Sink


class Artifacts:
    """Writes the artifacts of one training that succeeded and tells the sink of each."""

    def __init__(self, parts: Parts, store: Store, sink: Sink, pulse: Pulse) -> None:
        self._parts, self._store = parts, store
        self._sink, self._pulse = sink, pulse

    def leave(self, loop: Loop) -> str:
        """Write weights, source and evaluation; return the sha256 of weights.safetensors.

        The network holds the best weights afterwards, where they are kept.
        """
        self._pulse.enter(Phase.SAVE, loop.state.epoch, loop.state.batch)
        sha256 = self._write(WEIGHTS, "weights", safetensors(self._final()))
        self._write(SOURCE, "network", loop.kept.source.encode())
        evaluation = {"split": "test", **report(loop.last_test)} if loop.last_test else {}
        if loop.kept.best is not None and loop.state.best is not None:
            self._write(BEST_WEIGHTS, "weights", safetensors(loop.kept.best))
            best = report(self._measure(loop.kept.best))
            evaluation["best"] = {"epoch": loop.state.best.epoch, **best}
        content = json.dumps(_jsonable(evaluation))
        self._write(EVALUATION, "evaluation", content.encode())
        return sha256

    def _final(self) -> dict[str, Tensor]:
        return self._parts.network.state_dict()

    def _measure(self, weights: dict[str, Tensor]) -> Measured:
        parts = self._parts
        parts.network.load_state_dict(weights)
        return evaluate(
            parts.network,
            parts.data.test,
            parts.learner.loss,
            parts.data.normalise,
            batch_size=parts.evaluation_batch_size,
            alive=self._pulse.beat,
        )

    def _write(self, name: str, kind: str, content: bytes) -> str:
        self._pulse.beat()
        return leave(self._store, self._sink, name, kind, content)


def leave(store: Store, sink: Sink, name: str, kind: str, content: bytes) -> str:
    """Write an artifact, tell the sink, and return its sha256."""
    stored = store.write(name, content)
    sink.artifact(
        {
            "name": name,
            "kind": kind,
            "uri": stored.uri,
            "sha256": stored.sha256,
            "bytes": stored.bytes,
        }
    )
    return stored.sha256


def safetensors(weights: Mapping[str, Any]) -> bytes:
    """Return a safetensors file whose header holds nothing but the tensors.

    Weights that a network of a team's own has under two names are written under both; what else
    it keeps in its state, as an extra state, belongs to no weights' file.
    """
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            continue
        there = tensor.detach().cpu().contiguous()
        place = there.untyped_storage().data_ptr()
        kept[name] = there.clone() if place in seen else there
        seen.add(place)
    return save(kept)


def _jsonable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return `value` with NaN and the infinities as the strings that JSON has room for."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return number_or_word(value) if isinstance(value, float) else value
