"""One command's view of the world: settings, platform, flows, and where results go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.bootstrap import Platform
    from pynomaly.settings import Settings
    from pynomaly_flows.launch import EngineChoice, FlowName

__all__ = ["Session", "jsonable"]


@dataclass
class Session:
    """What :func:`main` gives to every command.

    Args:
        as_json: Whether the result is one JSON document.
        stdout: Where results go.
        steps: Facts about every step that finished or failed, for the report of a failure.
    """

    as_json: bool
    stdout: TextIO
    steps: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """Effective settings of the working folder."""
        from pynomaly.settings import load_settings

        return load_settings()

    def scoring_with(self, **chosen: Any) -> None:
        """Let options of the command line override the settings of scoring.

        Args:
            chosen: By name of the setting; None leaves it as it is.
        """
        given = {name: value for name, value in chosen.items() if value is not None}
        scoring = replace(self.settings.scoring, **given)
        self.settings = replace(self.settings, scoring=scoring)

    @cached_property
    def platform(self) -> Platform:
        """Every use case."""
        from pynomaly.bootstrap import build

        return build(self.settings)

    def launch(
        self, flow: FlowName, pipeline: str, engine: EngineChoice, **params: object
    ) -> dict[str, Any]:
        """Run a flow with live progress and return its document.

        Args:
            flow: Which one.
            pipeline: Of a configured pipeline.
            engine: Which engine.
            params: Of the flow; ``data`` and ``out`` are relative to the working folder.
        """
        from pynomaly.presentation.cli.progress import progress
        from pynomaly.settings import load_pipeline, resolve_uri
        from pynomaly_flows.launch import launch

        load_pipeline(pipeline, self.settings)  # a typo should not wait for an engine to start
        typed = params.get("out")
        for name in ("data", "out"):
            if isinstance(uri := params.get(name), str):
                params[name] = resolve_uri(uri, Path.cwd())
        if isinstance(out := params.get("out"), str) and str(typed).endswith("/"):
            params["out"] = f"{out.rstrip('/')}/"  # said to be a folder
        with progress(self.steps) as on_event:
            return launch(
                flow, pipeline, self.settings, engine=engine, params=params, on_event=on_event
            )

    def require_known(self, pipeline: str) -> None:
        """Refuse a name that is neither configured nor in our records.

        Raises:
            UnknownPipelineError: The hint suggests the nearest configured one.
        """
        from pynomaly.settings import load_pipeline, pipeline_names

        configured = pipeline_names(self.settings)
        if pipeline not in configured and pipeline not in self.platform.records.pipelines():
            load_pipeline(pipeline, self.settings)

    def present(self, document: Mapping[str, Any], lines: Iterable[RenderableType]) -> None:
        """Print a result: the document as JSON, or else the lines for people."""
        if self.as_json:
            self.stdout.write(json.dumps(jsonable(document), indent=2, allow_nan=False) + "\n")
            self.stdout.flush()
            return
        from pynomaly.presentation.cli.render.base import console

        out = console(self.stdout)
        for line in lines:
            out.print(line, soft_wrap=isinstance(line, str))


def jsonable(value: Any) -> Any:
    """Return ``value`` as JSON has it: not-a-number becomes null, moments ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)
