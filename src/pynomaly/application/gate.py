"""Put a model version before the gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pynomaly.application.champion import ModelLoader, deciding
from pynomaly.application.gates.battery import judge
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.context import GateContext
from pynomaly.application.gates.recent import ReadRecent, Recent
from pynomaly.application.held_out import read_held_out
from pynomaly.application.judgements import Judgements, nothing_said
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.records import Records
from pynomaly.domain.errors import ConflictError, ReleaseBlockedError, UsageError
from pynomaly.domain.gates import (
    INTEGRITY_GATES,
    GateResult,
    Override,
    Verdict,
    combine,
    overridden,
)
from pynomaly.domain.identifiers import new_id, new_salt
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.rollouts import Stage, plan_rollout
from pynomaly.domain.runs import Actor

__all__ = ["GateVersion", "conflicting_release", "require_passed", "review_asked"]


def conflicting_release(records: Records, pipeline: str, done: str) -> ConflictError | None:
    """Return the error that a release is staged or rolled out, for there is one at a time.

    Args:
        records: Know.
        pipeline: Whose.
        done: What was done instead of releasing, for people.

    Returns:
        None where there is none, or it waits for approval: a newer one takes its place.
    """
    active = records.on_its_way(pipeline)
    if active is None or active.state == "pending_approval":
        return None
    return ConflictError(
        f"version {active.version} of '{pipeline}' is on its way already ({active.state}); {done}",
        hint=f"wait for it: pynomaly releases watch {active.id}; take a staged one further: "
        f"pynomaly release {pipeline} --resume; or give it up: "
        f"pynomaly releases abort {active.id} --reason …",
    )


@dataclass(frozen=True, slots=True)
class GateVersion:
    """Run every gate on a version as the registry holds it, and record the release."""

    loader: ModelLoader
    datasets: DatasetStore
    kernels: Kernels
    records: Records
    recent: ReadRecent
    judgements: Callable[[Pipeline], Judgements] = nothing_said

    def __call__(
        self,
        pipeline: Pipeline,
        version: int | None,
        run_id: str,
        actor: Actor,
        *,
        to: Stage = "production",
        overrides: Sequence[Override] = (),
    ) -> Release:
        """Gate a version, with the pipeline's decision policy, against the champion.

        Args:
            pipeline: Its release policy holds the thresholds, its rollout policy the steps.
            version: To release; the newest where None.
            run_id: Recorded with the release.
            actor: Who proposes it.
            to: Where it is to get.
            overrides: Of gates that block or are inconclusive; recorded with their results.

        Returns:
            The stored release: ``candidate`` if it may be promoted, else ``blocked``.

        Raises:
            ConflictError: Another release is staged or rolled out; asked before anything is gated.
            UsageError: That version serves with that policy already, there is none, or there is
                nothing to override.
            IntegrityError: The registry's bytes are not what was registered, or the held-out rows
                not those of the training.
        """
        if conflict := conflicting_release(self.records, pipeline.name, "nothing was gated"):
            raise conflict
        challenger = self.loader.version(pipeline.name, version)
        production = self.records.production(pipeline.name)
        champion = production.version if production else None
        same = production is not None and deciding(pipeline, production) == pipeline
        if same and challenger.version == champion:
            raise UsageError(
                f"version {champion} of '{pipeline.name}' serves already",
                hint=f"train a newer one: pynomaly train {pipeline.name}",
            )
        gates = overridden(self._gates(pipeline, challenger, production), overrides)
        verdict = combine(gates, allow_inconclusive=pipeline.release.allow_inconclusive)
        release = Release(
            id=new_id(datetime.now(UTC)),
            run_id=run_id,
            pipeline=pipeline.name,
            version=challenger.version,
            champion=champion,
            state="candidate" if verdict in ("pass", "review") else "blocked",
            verdict=verdict,
            gates=gates,
            created_at=datetime.now(UTC),
            decision=pipeline.decision,
            rollout=plan_rollout(pipeline.rollout, new_salt(), to=to, first=champion is None),
            to=to,
            needs_approval=verdict == "review" or pipeline.rollout.approval == "required",
            proposer=actor,
        )
        self.records.add_release(release)
        return release

    def _gates(
        self, pipeline: Pipeline, version: ModelVersion, production: Release | None
    ) -> tuple[GateResult, ...]:
        champion = None
        if production is not None:
            found = self.loader.version(pipeline.name, production.version)
            champion = Contender(self.loader.load(found), self.kernels)
        # A fresh copy, never the cache: these gates are about what the registry holds.
        with TemporaryDirectory() as work:
            folder = Path(work) / "model"
            self.loader.fetch(version, folder)
            model = self.loader.store.load(folder, version.manifest_digest)
            gates = judge(
                GateContext(
                    pipeline=pipeline,
                    challenger=Contender(model, self.kernels),
                    champion=champion,
                    serving=deciding(pipeline, production).decision
                    if production
                    else pipeline.decision,
                    holdout=read_held_out(
                        self.datasets, version.holdout_uri, model.card.holdout_digest
                    ),
                    golden=self.loader.store.golden(folder, version.manifest_digest),
                    report=self.records.report_of(pipeline.name, version.training_fingerprint),
                    fingerprint=version.training_fingerprint,
                    model_bytes=sum(path.stat().st_size for path in folder.rglob("*")),
                    recent=self.recent(pipeline) if champion else Recent(),
                    trained_at=self._trained_at(version),
                    judgements=self.judgements(pipeline),
                )
            )
        undecided = [gate.gate for gate in gates if gate.verdict == "inconclusive"]
        if undecided and pipeline.release.allow_inconclusive:
            allowed = GateResult(
                "inconclusive_allowed", "pass", float(len(undecided)), None, None, len(gates),
                f"{', '.join(undecided)} could not decide, and the release policy lets that "
                "pass (release.allow_inconclusive).",
            )  # fmt: skip
            return (*gates, allowed)
        return gates

    def _trained_at(self, version: ModelVersion) -> datetime:
        """Return when the run that trained a version began, else when it was registered."""
        run = self.records.run(version.run_id)
        return run.started_at if run else version.created_at


def require_passed(release: Release) -> None:
    """Raise if a gate keeps a release from going on.

    Args:
        release: With its gates.

    Raises:
        ReleaseBlockedError: Names every gate in the way, with observed, bound and threshold.
    """
    if release.verdict in ("pass", "review"):
        return
    serving = (
        f"version {release.champion} keeps serving"
        if release.champion is not None
        else "nothing serves yet"
    )
    hint = "mend the data or the training policy and train again"
    if release.verdict == "inconclusive":
        rows = max(1, min(g.n for g in release.gates if g.verdict == "inconclusive"))
        hint = (
            f"train on more rows, or lower what the gate says it demands, knowingly, in "
            f"conf/pipelines/{release.pipeline}.yaml, under `release:`, e.g. `min_gate_rows: "
            f"{rows}`; `allow_inconclusive: true` lets every inconclusive gate through"
        )
    # Those that could not decide as well: they would be in the way next.
    ways: tuple[Verdict, ...] = ("block", "inconclusive")
    if any(g.gate == "inconclusive_allowed" for g in release.gates):
        ways = ("block",)
    standing = [g.gate for g in release.gates if g.verdict in ways and g.override is None]
    if not INTEGRITY_GATES.intersection(standing):
        hint += (
            f"; or override knowingly: pynomaly release {release.pipeline} --version "
            f"{release.version} {' '.join(f'--override {name}' for name in standing)} --reason …"
        )
    raise ReleaseBlockedError(
        f"version {release.version} of '{release.pipeline}' was not promoted ({serving}): "
        f"{_told(release, 'block', release.verdict)}",
        release_id=release.id,
        hint=hint,
    )


def review_asked(release: Release) -> str:
    """Return what the gates that ask for review saw; empty where none does."""
    return _told(release, "review")


def _told(release: Release, *verdicts: Verdict) -> str:
    return "; ".join(
        f"gate {g.gate} says {g.verdict}: observed {_number(g.observed)}, "
        f"bound {_number(g.bound)}, threshold {_number(g.threshold)}, n {g.n:,}: "
        f"{g.sentence.rstrip('.')}"
        for g in release.gates
        if g.verdict in verdicts and g.override is None
    )


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"
