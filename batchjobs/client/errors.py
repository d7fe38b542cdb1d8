"""What the SDK's errors mean: every one becomes an error of the register, or :class:`JobEnded`.

Texts are the service's code, message and values; no header and no address with a query gets in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.batch import models
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError

from batchjobs.errors import NoJob, OverQuota, PoolDiffers, ServiceFailed
from batchjobs.service import JobEnded
from engine import BadSetting, EvensplitError, NoPermission

_JOB_OVER = frozenset({"JobCompleted", "JobTerminating", "JobBeingDeleted", "JobBeingTerminated"})
# By the service's code: the setting of ours, and that of the account, which would help.
_QUOTAS = {
    "ActiveJobAndScheduleQuotaReached": (
        "delete ended jobs with `evensplit batch clean`, or raise the account's "
        "activeJobAndJobScheduleQuota"
    ),
    "PoolQuotaReached": "name an existing --pool, or raise the account's poolQuota",
    "AccountCoreQuotaReached": (
        "change --dedicated or --vm-size, or raise the account's dedicatedCoreQuota"
    ),
    "AccountLowPriorityCoreQuotaReached": (
        "change --spot or --vm-size, or raise the account's lowPriorityCoreQuota"
    ),
    "AccountVMSeriesCoreQuotaReached": (
        "change --dedicated, or --vm-size to another series, or raise the account's "
        "dedicatedCoreQuotaPerVMFamily"
    ),
}


def quota_advice(code: str) -> str:
    """Return what helps against a quota of this code; empty if it is none."""
    return _QUOTAS.get(code, "")


def other_pool(pool_id: str) -> PoolDiffers:
    """Return what is wrong with a pool whose metadata names another spec."""
    return PoolDiffers(
        f"pool {pool_id} exists and was made by another spec; choose another name, or delete it "
        f"with `evensplit batch pool delete {pool_id}`"
    )


@contextmanager
def existing(code: str) -> Iterator[None]:
    """Take it as success that something is there: the SDK itself repeats a POST that was lost."""
    try:
        yield
    except HttpResponseError as error:
        if code_of(error) != code:
            raise


@contextmanager
def translate_sdk_errors(job_id: str = "") -> Iterator[None]:
    """Turn the SDK's errors into ours; JobEnded, for those who name the job."""
    try:
        yield
    except models.CreateTasksError as error:
        raise _of_tasks(error, job_id) from error
    except AzureError as error:
        raise _told(error, job_id) from error


def _of_tasks(error: models.CreateTasksError, job_id: str) -> Exception:
    inner = [item for item in error.errors if isinstance(item, AzureError)]
    if inner:
        return _told(inner[0], job_id)
    first = error.failure_tasks[0] if error.failure_tasks else None
    why = _text(first.error) if first is not None else "the SDK does not say why"
    number = len(error.failure_tasks) + len(error.pending_tasks)
    return ServiceFailed(f"{number} tasks were not added: {why}; submit again")


def _told(error: AzureError, job_id: str) -> EvensplitError | JobEnded:
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return ServiceFailed("Azure Batch cannot be reached; run the same command again")
    if isinstance(error, CredentialUnavailableError):
        return _no_token(str(error))
    if isinstance(error, ClientAuthenticationError):
        return _denied()
    if not isinstance(error, HttpResponseError):
        return ServiceFailed(f"Azure Batch failed ({type(error).__name__}); run it again")
    return _refused(error, code_of(error), job_id)


def _no_token(said: str) -> EvensplitError:
    """Return why there is no token; that nobody answered is told by these words alone."""
    if "no response" in said:
        return ServiceFailed(
            "no token came from the managed identity's service; run the same command again, or "
            "choose another --login if this machine has no identity"
        )
    return NoPermission(
        "no login was found for Azure Batch: az login, or another --login (key, service-principal, "
        "identity)"
    )


def _denied() -> NoPermission:
    return NoPermission(
        "Azure Batch does not take the credential; check the account's key, or that the identity "
        "has a role on the Batch account (Azure Batch Job Submitter, or Data Contributor for pools)"
    )


def _refused(error: HttpResponseError, code: str, job_id: str) -> EvensplitError | JobEnded:
    text = _text(error.error) or f"status {error.status_code}"
    if code in _JOB_OVER and job_id:
        return JobEnded(job_id)
    if code in _QUOTAS:
        return OverQuota(f"{text}; {_QUOTAS[code]}")
    if error.status_code in (401, 403):
        return _denied()
    if error.status_code == 404:
        return NoJob(f"{text}; see `evensplit batch list`")
    if error.status_code == 400:
        return BadSetting(f"Azure Batch refuses: {text}")
    return ServiceFailed(f"Azure Batch answers {text}; run the same command again")


def code_of(error: HttpResponseError) -> str:
    """Return the service's own code: every 409 is one class of the SDK's."""
    found = getattr(error.error, "code", None)
    return str(found or "")


def _text(error: Any) -> str:
    """Return code, message and values in one line; the service adds request ids on further ones."""
    message = getattr(error, "message", None)
    first = str(getattr(message, "value", message) or "").partition("\n")[0]
    values = [f"{item.key}: {item.value}" for item in getattr(error, "error_values", None) or ()]
    return "; ".join(filter(None, [getattr(error, "code", "") or "", first, *values]))
