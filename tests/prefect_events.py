"""What a Prefect server has heard, for tests that share it."""

import time


def heard(name, mention=""):
    """Return the events of a name that the server has stored, waiting until one has a mention."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with get_client(sync_client=True) as client:
            answer = client._client.post(
                "/events/filter", json={"filter": {"event": {"name": [name]}}}
            )
            answer.raise_for_status()
        if mention in answer.text and (found := answer.json()["events"]):
            return found
        time.sleep(0.2)
    return []
