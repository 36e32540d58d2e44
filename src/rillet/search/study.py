"""The record of a search: an Optuna study in a journal file, which its coordinator alone writes.

A trial is one training, known by its network's key and its epochs. What was RUNNING when a coordinator was killed is
taken up again under its number; what is COMPLETE is never trained again. `optuna-dashboard RUN/study.log` shows it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rillet.errors import GraphError
from rillet.search.budget import Budget
from rillet.search.space import Choice, Space
from rillet.search.task import Outcome
from rillet.system.checksums import read_record, record_text
from rillet.system.extras import extra
from rillet.system.files import write_file

STUDY, NETWORKS = "study.log", "networks"
_NAME, _KEY, _EPOCHS = "rillet", "key", "epochs"


def checked_key(said: object) -> str:
    """The key of a network, as files say it, which becomes part of paths; raises GraphError for what is none."""
    if not isinstance(said, str) or re.fullmatch("[0-9a-f]{16}", said) is None:
        raise GraphError(f"key of a candidate must be 16 hexadecimal digits, got {said!r:.60}")
    return said


@dataclass(frozen=True)
class Entry:
    """A training that ended."""

    key: str
    epochs: int
    top1: float
    seconds: float
    failed: str


class Study:
    """Trainings begun and ended; raises GraphError for a file that is no journal, Unsupported without Optuna."""

    def __init__(self, folder: Path) -> None:
        with extra("search"):
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

        self._optuna, self._folder = optuna, folder / NETWORKS
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = folder / STUDY
        try:
            # No lock: the folder is held by its one coordinator, and a lock file would outlive one that is killed.
            backend = JournalFileBackend(str(path), lock_obj=_Held())  # pyright: ignore[reportArgumentType]
            self._study = optuna.create_study(
                study_name=_NAME,
                storage=JournalStorage(backend),
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            self._numbers: dict[tuple[str, int], int] = {}
            self.entries: list[Entry] = []
            self._read()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GraphError(f"{path}: must be the journal of a search: {str(error)[:100]}") from None

    def _read(self) -> None:
        complete = self._optuna.trial.TrialState.COMPLETE
        for trial in self._study.get_trials(deepcopy=False):
            key, epochs = checked_key(trial.user_attrs[_KEY]), int(trial.params[_EPOCHS])
            self._numbers[key, epochs] = trial.number
            if trial.state is complete:
                said, _ = read_record(self._folder / f"{key}-{epochs}.json")
                self.entries.append(Entry(**{name: said[name] for name in Entry.__dataclass_fields__}))

    def done(self, key: str, epochs: int) -> Entry | None:
        """The training of a network for so many epochs, if it has ended."""
        return next((one for one in self.entries if (one.key, one.epochs) == (key, epochs)), None)

    def begin(
        self,
        key: str,
        epochs: int,
        rungs: tuple[int, ...],
        choice: Choice,
        costs: Mapping[str, float],
        asked: tuple[Space, Budget],
    ) -> None:
        """Writes that a training begins; one that was begun before keeps its number."""
        if (key, epochs) in self._numbers:
            return
        space, budget = asked
        genes = {gene.name: choice[gene.name] for gene in space.free if gene.name in choice}
        kinds = self._optuna.distributions.CategoricalDistribution
        known = {name: kinds(space.by_name[name].values) for name in genes} | {_EPOCHS: kinds(rungs)}
        # One line of the journal: a coordinator that is killed has written all of it or nothing.
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=self._optuna.trial.TrialState.RUNNING,
                params={**genes, _EPOCHS: epochs},
                distributions=known,
                user_attrs={_KEY: key, **costs},
                constraints={limit.measure.name: costs[limit.measure.name] - limit.most for limit in budget.limits},
            )
        )
        self._numbers[key, epochs] = len(self._study.get_trials(deepcopy=False)) - 1

    def end(self, made: Outcome, macs: float) -> None:
        """Keeps the network of a training, and writes what it came to."""
        name = f"{made.key}-{made.epochs}"
        if made.network:
            write_file(self._folder / f"{name}.rlt", made.network)
        found = Entry(made.key, made.epochs, made.top1, made.seconds, made.failed)
        write_file(self._folder / f"{name}.json", record_text(asdict(found)).encode())
        # Told last: what the journal calls complete is there.
        self._study.tell(self._numbers[made.key, made.epochs], (made.top1, macs))
        self.entries.append(found)


class _Held:
    """A lock of the journal that is always held."""

    def acquire(self) -> bool:
        """Has it."""
        return True

    def release(self) -> None:
        """Keeps it."""
