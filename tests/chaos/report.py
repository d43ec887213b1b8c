"""What a run comes to: figures for people, and as JSON for whoever keeps them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from foundation.faults import Moment
from tests.chaos.book import Book
from tests.chaos.control import Hit


@dataclass
class Report:
    """A run in numbers; see `lines` for what each of them says."""

    seed: int
    rounds: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    iterations: int = 0
    rewinds: int = 0
    iterations_again: int = 0
    to_the_bit: int = 0
    answers: int = 0
    steps_back: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    restarts: dict[str, int] = field(default_factory=dict)
    unheeded: Counter[str] = field(default_factory=Counter)
    taken_seconds: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def count_hits(self, hits: Sequence[Hit]) -> None:
        self.hits = Counter({str(moment): 0 for moment in Moment})
        self.hits.update(hit.moment for hit in hits)

    def count_books(self, books: Sequence[Book]) -> None:
        for book in books:
            self.jobs[book.job.state] += 1
            self.attempts += len(book.attempts)
            self.outcomes.update(attempt.outcome or "open" for attempt in book.attempts)
            self.iterations += book.progress.iteration
            rewinds = [event.data for event in book.events if event.type == "rewound"]
            self.rewinds += len(rewinds)
            self.iterations_again += sum(data["from"] - data["to"] for data in rewinds)

    def lines(self) -> list[str]:
        """The report as a text of two columns."""
        taken = sorted(self.taken_seconds)
        middle = f"{taken[len(taken) // 2]:.1f} s, at most {taken[-1]:.1f} s" if taken else "-"
        return [
            _line("seed", self.seed),
            _line("rounds", self.rounds),
            _line("time", f"{self.seconds:.0f} s"),
            *_table("faults", self.faults),
            *_table("hits at named moments", self.hits),
            *_table("jobs", self.jobs),
            *_table("attempts", self.outcomes, self.attempts),
            _line("iterations in the book", f"{self.iterations:,}"),
            _line("rewinds", f"{self.rewinds}, {self.iterations_again:,} iterations made again"),
            _line("equal to their twin to the bit", self.to_the_bit),
            _line("a lone worker's death to the queue", middle),
            _line("answers that the watcher read", f"{self.answers:,}"),
            _line("steps back that it saw, all told", self.steps_back),
            *_table("asked again", self.troubles),
            *_table("wishes that came too late", self.unheeded),
            *_table("started again by us", self.restarts),
            _line("violations", len(self.violations)),
            *(f"  {text}" for text in self.violations),
        ]

    def json(self) -> str:
        return json.dumps(vars(self), indent=1)


def _table(name: str, counts: Mapping[str, int], total: int | None = None) -> list[str]:
    count = sum(counts.values()) if total is None else total
    parts = sorted(counts.items(), key=lambda part: (-part[1], part[0]))
    return [_line(name, count), *(_line(f"  {part}", number) for part, number in parts)]


def _line(name: str, value: object) -> str:
    return f"{name:<52} {value}"
