"""Who asks: the credential of a Batch account, chosen by name and never tried in a row.

Trying would wait for identities where there are none. Secrets come from the environment only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential, TokenCredential

from batchjobs.service import CREDENTIALS
from engine import BadSetting


def choose(
    name: str, endpoint: str, environment: Mapping[str, str]
) -> AzureNamedKeyCredential | TokenCredential:
    """Return a credential.

    Args:
        name: one of :data:`batchjobs.service.CREDENTIALS`; ``auto`` is the key or service principal
            that the environment sets, else the login of the Azure CLI.
        endpoint: of the account, whose name belongs to its key.
        environment: where secrets are looked for.

    Raises:
        BadSetting: there is none of that name, or the environment lacks what it needs.
    """
    if name not in CREDENTIALS:
        raise BadSetting(f"no credential of that name; choose {', '.join(CREDENTIALS)}")
    if name == "auto" and environment.get("AZURE_BATCH_ACCESS_KEY"):
        name = "key"
    if name != "key":
        return token(name, environment)
    host = urlsplit(endpoint).hostname or ""
    account = environment.get("AZURE_BATCH_ACCOUNT") or host.partition(".")[0]
    return AzureNamedKeyCredential(account, _needed(environment, "AZURE_BATCH_ACCESS_KEY"))


def token(name: str, environment: Mapping[str, str]) -> TokenCredential:
    """Return a credential that gives tokens: Azure Resource Manager takes no account key.

    Raises:
        BadSetting: as of :func:`choose`.
    """
    from azure import identity

    if name == "auto":
        name = "service-principal" if environment.get("AZURE_CLIENT_SECRET") else "cli"
    if name == "service-principal":
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        return identity.ClientSecretCredential(*(_needed(environment, item) for item in names))
    if name == "cli":
        return identity.AzureCliCredential()
    if name == "identity":
        return identity.ManagedIdentityCredential(client_id=environment.get("AZURE_CLIENT_ID"))
    raise BadSetting(
        "Azure Resource Manager takes no account key; choose --login service-principal, cli or "
        "identity"
    )


def who(credential: TokenCredential) -> tuple[str, str]:
    """Return object id and type (User or ServicePrincipal) of whom a credential is.

    They stand in the token for Azure Resource Manager; only tokens of people have scopes.
    Source: Access token claims reference
    (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).

    Raises:
        BadSetting: the token does not say.
    """
    parts = credential.get_token("https://management.azure.com/.default").token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        return str(claims["oid"]), "User" if claims.get("scp") else "ServicePrincipal"
    except (ValueError, LookupError, TypeError):
        # Nothing of the token gets into the message, or into a traceback.
        raise BadSetting("the login does not say who it is; give --operator ID:TYPE") from None


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise BadSetting(f"the environment does not set {name}")
    return value
