"""Triggers of a factory, stopped while it is deployed: Data Factory changes none that is started.

A deployment over a started trigger ends in ``TriggerEnabledCannotUpdate``. Those that are started
are stopped before, and started again after, also if what is between fails.

Source: "Sample pre- and post-deployment script" of Data Factory's documentation
(https://learn.microsoft.com/azure/data-factory/continuous-integration-delivery-sample-script), and
its REST reference, Triggers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from azure.core.rest import HttpRequest

from batchjobs.client.resources import Resources, Send
from batchjobs.errors import ServiceFailed
from engine import EvensplitError

_API = "2018-06-01"
_POLL_SECONDS = 2.0
_MOST_LOOKS = 150  # a trigger on events takes a minute or two


class Triggers:
    """The triggers of one factory.

    Args:
        factory_id: its resource id; it need not be there.
        send: sends a request to Azure Resource Manager, and raises what it refuses.
    """

    def __init__(self, factory_id: str, send: Send) -> None:
        self._url = f"{factory_id}/triggers"
        self._send = send

    @contextmanager
    def stopped(self) -> Iterator[Sequence[str]]:
        """Stop the triggers that are started, tell their names, and start them again.

        Raises:
            engine.EvensplitError: one cannot be stopped, or started again; the message names it.
        """
        names: list[str] = []
        try:
            for name in self._started():
                names.append(name)
                self._ask(name, "stop", "Stopped")
            yield tuple(names)
        finally:
            left = [name for name in names if not self._starts(name)]
        if left:
            raise ServiceFailed(
                f"the deployment succeeded, and these triggers are stopped still: {', '.join(left)}"
                "; start them with `az datafactory trigger start`"
            )

    def _started(self) -> list[str]:
        found = Resources("", "", self._send).listed(self._url, _API)
        return [item["name"] for item in found if _state(item) == "Started"]

    def _starts(self, name: str) -> bool:
        try:
            self._ask(name, "start", "Started")
        except EvensplitError:
            return False
        return True

    def _ask(self, name: str, verb: str, state: str) -> None:
        self._send(HttpRequest("POST", self._with_version(f"{self._url}/{name}/{verb}")))
        for _ in range(_MOST_LOOKS):
            url = self._with_version(f"{self._url}/{name}")
            if _state(self._send(HttpRequest("GET", url)).json()) == state:
                return
            time.sleep(_POLL_SECONDS)
        raise ServiceFailed(f"trigger {name} does not {verb}; run the same command again")

    def _with_version(self, path: str) -> str:
        return f"{path}?api-version={_API}"


def _state(trigger: dict[str, Any]) -> str:
    return str(trigger.get("properties", {}).get("runtimeState", ""))
