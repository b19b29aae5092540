"""``pynomaly evidence``: one signed file that proves a release to somebody else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pynomaly.presentation.cli.options import Command, Group, overwrite_option, pipeline_argument
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group(
    "evidence",
    cls=Group,
    example="pynomaly evidence export payments 3 --out payments-3.zip\n"
    "pynomaly evidence verify payments-3.zip --key evidence.pub.pem\n"
    "pynomaly evidence key > evidence.pub.pem",
)
def command() -> None:
    """Prove what is on record about a version."""


@command.command(
    "export", cls=Command, example="pynomaly evidence export payments 3 --out payments-3.zip"
)
@pipeline_argument
@click.argument("version", type=click.IntRange(min=1))
@click.option("--out", metavar="FILE", required=True, help="The bundle, a zip file.")
@overwrite_option
@click.pass_obj
def export(session: Session, pipeline: str, version: int, out: str, overwrite: bool) -> None:
    """Write data, training, gates, releases, model and model card into one signed bundle."""
    from pynomaly.presentation.cli.render.evidence import exported_lines

    session.require_known(pipeline)
    done = session.platform.export_evidence(
        pipeline, version, Path(out).absolute(), overwrite=overwrite
    )
    session.present(asdict(done), exported_lines(asdict(done)))


@command.command(
    "verify",
    cls=Command,
    example="pynomaly evidence verify payments-3.zip --key evidence.pub.pem",
)
@click.argument("bundle", metavar="FILE")
@click.option(
    "--key",
    metavar="FILE|FINGERPRINT",
    help="Public key that must have signed it: a PEM file, or sha256:… as `evidence key` shows it.",
)
@click.pass_obj
def verify(session: Session, bundle: str, key: str | None) -> None:
    """Check every byte of a bundle, its signature and its model; needs neither project nor network."""
    from pynomaly.adapters import evidence_verification
    from pynomaly.presentation.cli.render.evidence import verified_lines

    found = asdict(evidence_verification()(Path(bundle).absolute(), key))
    session.present(found, verified_lines(found))


@command.command("key", cls=Command, example="pynomaly evidence key > evidence.pub.pem")
@click.pass_obj
def key(session: Session) -> None:
    """Print the public key that others verify with, as PEM; the first use makes one."""
    from pynomaly.domain.evidence import key_fingerprint
    from pynomaly.presentation.cli.render.evidence import key_lines

    signer = session.platform.signer
    found = {
        "public_key": signer.public_pem(),
        "key_fingerprint": key_fingerprint(signer.public_key()),
    }
    session.present(found, key_lines(found))
