"""A resumable study in a journal file."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynomaly.application.ports.learning import Trial, TuningResult
from pynomaly.domain.detectors import Choice, FloatRange, IntRange, Space, complete
from pynomaly.domain.detectors import detector as catalogued
from pynomaly.domain.errors import NotTrainableError

if TYPE_CHECKING:
    import optuna

__all__ = ["OptunaTuner"]

Objective = Callable[[str, Mapping[str, Any]], float]

_FAILURE, _SECONDS = "failure", "seconds"
_AS_BEFORE = "as before"


class OptunaTuner:
    """Implements the ``Tuner`` port with a TPE sampler.

    Args:
        folder: Holds one journal per study; created when first needed.  None keeps studies in
            memory: they leave nothing behind and cannot be resumed.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def tune(
        self,
        study: str,
        detectors: Sequence[str],
        objective: Objective,
        *,
        trials: int,
        timeout_seconds: float | None,
        seed: int,
        on_trial: Callable[[Trial], None],
    ) -> TuningResult:
        """Run or resume a study; see the port.

        A configuration that was tried before is not computed again, and one that cannot be
        trained counts as a trial without a value.

        Raises:
            NotTrainableError: No configuration could be trained.
        """
        from optuna.samplers import TPESampler

        started = time.monotonic()
        with _quiet():
            opened = self._open(study)
            done = [_trial(i, frozen) for i, frozen in enumerate(_finished(opened))]
            while len(done) < max(1, trials):
                late = timeout_seconds is not None and time.monotonic() - started > timeout_seconds
                if done and late:
                    break
                if not done and not opened.get_trials(deepcopy=False, states=_waiting()):
                    opened.enqueue_trial(_incumbent(detectors[0]))
                # Seeded per trial, so a resumed study goes on as if it had never stopped.
                opened.sampler = TPESampler(seed=seed + len(done))
                done.append(_run(opened, detectors, objective, done))
                on_trial(done[-1])
        tried = [trial for trial in done if trial.value is not None]
        if not tried:
            reasons = {t.user_attrs.get(_FAILURE) for t in opened.get_trials(deepcopy=False)}
            told = "; ".join(sorted(r for r in reasons if r and r != _AS_BEFORE))
            raise NotTrainableError(
                f"none of {len(done)} tried configurations could be trained: {told}",
                hint="give more or more varied rows, or allow other families in training.detectors",
            )
        # The earliest of equals, so that the incumbent wins ties.
        return TuningResult(tuple(done), max(tried, key=lambda trial: (trial.value, -trial.number)))

    def _open(self, name: str) -> optuna.Study:
        import optuna

        if self._folder is None:
            return optuna.create_study(direction="maximize")
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._folder.mkdir(parents=True, exist_ok=True)
        journal = self._folder / f"{_file_name(name)}.journal"
        _drop_torn_line(journal)
        study = optuna.create_study(
            study_name=name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            direction="maximize",
            load_if_exists=True,
        )
        for trial in study.get_trials(
            deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)
        ):  # interrupted: asked again under the same seed
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return study


def _run(
    study: optuna.Study, detectors: Sequence[str], objective: Objective, done: Sequence[Trial]
) -> Trial:
    from optuna.trial import TrialState

    started = time.monotonic()
    asked = study.ask()
    detector = asked.suggest_categorical("detector", list(detectors))
    params = complete(
        detector,
        {
            name: _suggest(asked, f"{detector}.{name}", space)
            for name, space in catalogued(detector).space.items()
        },
    )
    known = [t for t in done if (t.detector, t.params) == (detector, params)]
    failure = ""
    value: float | None = None
    if known:
        value = known[0].value
    else:
        try:
            value = objective(detector, params)
        except NotTrainableError as error:
            failure = error.message
    seconds = time.monotonic() - started
    asked.set_user_attr(_SECONDS, seconds)
    if value is None:
        asked.set_user_attr(_FAILURE, failure or _AS_BEFORE)
        study.tell(asked, state=TrialState.FAIL)
    else:
        study.tell(asked, value)
    return Trial(len(done), detector, params, value, seconds)


def _suggest(trial: optuna.Trial, name: str, space: Space) -> Any:
    match space:
        case Choice(values):
            return trial.suggest_categorical(name, list(values))
        case IntRange(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case FloatRange(low, high, log):
            return trial.suggest_float(name, low, high, log=log)


def _incumbent(detector: str) -> dict[str, Any]:
    entry = catalogued(detector)
    return {
        "detector": detector,
        **{f"{detector}.{name}": entry.defaults[name] for name in entry.space},
    }


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE or _FAILURE in trial.user_attrs
    ]


def _trial(number: int, frozen: optuna.trial.FrozenTrial) -> Trial:
    detector = frozen.params["detector"]
    prefix = f"{detector}."
    params = {
        name.removeprefix(prefix): value
        for name, value in frozen.params.items()
        if name.startswith(prefix)
    }
    return Trial(
        number, detector, complete(detector, params), frozen.value, frozen.user_attrs[_SECONDS]
    )


def _waiting() -> tuple[optuna.trial.TrialState, ...]:
    from optuna.trial import TrialState

    return (TrialState.WAITING,)


def _file_name(study: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", study)[:80]
    return f"{readable}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"


def _drop_torn_line(journal: Path) -> None:
    """Cut a last line that a killed process did not finish: Optuna could not read past it."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
