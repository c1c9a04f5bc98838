"""A Ray cluster, found or started here: actors with a share of its CPUs and GPUs, and little of Ray's own talk.

Knows nothing of language models but the actor that holds one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from typing import Any

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm._replica import Replica

logger = logging.getLogger(__name__)

# Between two remarks that nothing happens.
SECONDS_BETWEEN_REMARKS = 60.0


class Died(Exception):
    """An actor that can answer no more; says why in one line."""


class Cluster:
    """The cluster of this process; one that was started here stops with the last user."""

    _users = 0
    _ours = False

    def __init__(self, address: str, *, cpus: int) -> None:
        """Connect to the cluster at an address, or start one on this machine, with at least so many CPUs to give away.

        Raises:
            LimrankError: Nobody answers at the address.
            MissingExtra: Ray is not installed.
        """
        # Otherwise Ray tells its makers of every start.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Or else it warns of what will be the default: an actor without a share of the GPUs sees all of them.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._ray = require("ray", extra="ray", needed_for="the ray backend")
        self._actors: list[Any] = []
        self._closed = False
        if not self._ray.is_initialized():
            self._begin(address or os.environ.get("RAY_ADDRESS") or "local", cpus)
        Cluster._users += 1

    def _begin(self, address: str, cpus: int) -> None:
        local = address == "local"
        # What is oversubscribed on one's own machine is one's own affair.
        options: dict[str, Any] = {"num_cpus": max(cpus, os.cpu_count() or 1)} if local else {}
        if local:
            options["include_dashboard"] = False
        try:
            self._ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise LimrankError(f"address={address}: no Ray cluster to be had there ({words[0]})") from error
        Cluster._ours = local

    def share(self, replicas: int, cpus: float, gpus: float | None) -> float:
        """How many GPUs an actor gets: so many, or an equal part of all, one at most.

        Raises:
            LimrankError: There are not enough CPUs or GPUs.
        """
        resources = self._ray.cluster_resources()
        whole = int(resources.get("GPU", 0))
        if gpus is None:
            gpus = 1 / math.ceil(replicas / whole) if whole else 0.0
        for kind, each in (("CPU", cpus), ("GPU", gpus)):
            there = resources.get(kind, 0.0)
            if replicas * each > there + 1e-6:
                raise LimrankError(
                    f"{replicas} replicas with num_{kind.lower()}s={each:g} each need {replicas * each:g}, "
                    f"the cluster has {there:g}"
                )
        return gpus

    def start(self, spec: str, cpus: float, gpus: float) -> Any:
        """An actor with a Replica."""
        actor = self._ray.remote(Replica).options(num_cpus=cpus, num_gpus=gpus).remote(spec)
        self._actors.append(actor)
        return actor

    def stop(self, actor: Any) -> None:
        """End an actor, dead or alive."""
        with contextlib.suppress(Exception):
            self._ray.kill(actor)
        self._actors.remove(actor)

    def first(self, calls: list[Any]) -> Any:
        """The call that is the first to be done."""
        while True:
            done, _ = self._ray.wait(calls, num_returns=1, timeout=SECONDS_BETWEEN_REMARKS)
            if done:
                return done[0]
            logger.info("waiting for %d replicas", len(calls))

    def result(self, call: Any) -> Any:
        """What the call returned.

        Raises:
            Exception: What it raised.
            Died: Its actor is no more.
        """
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            # Ray's own error is a page with the traceback of the other side.
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise Died(lines[0] if lines else type(error).__name__) from error

    def close(self) -> None:
        """End all actors, and the cluster if it was started here and nobody else uses it."""
        if self._closed:
            return
        self._closed = True
        Cluster._users -= 1
        if not self._ray.is_initialized():
            return
        for actor in list(self._actors):
            self.stop(actor)
        if Cluster._ours and not Cluster._users:
            Cluster._ours = False
            self._ray.shutdown()
