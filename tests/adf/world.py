"""What the pipelines act on, here: blobs in Azurite, tasks on the Batch emulator, as processes.

A Custom activity becomes a task as Data Factory makes one: added through Azure's SDK, with
``activity.json``, ``linkedServices.json`` and ``datasets.json`` in its working directory, its
``outputs.json`` read back if it ended well (what is read after a failure is not documented, so
nothing is). What a managed identity would do on a node, a connection string in its environment
does; a Web activity's token is the account's signature.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobPrefix

from tests.adf.expressions import Scope, resolve
from tests.adf.runner import ActivityFailed
from tests.batchjobs.fake_batch import ACCOUNT, BIN, KEY, signature
from tests.engine.running import OPTIONS

MAX_ROWS, MAX_ANSWER_BYTES, MAX_OUTPUT_BYTES = 5_000, 4 << 20, 2 << 20


class LocalWorld:
    """See the module; ``laid`` keeps what every task found in its directory."""

    def __init__(self, factory: Mapping[str, Any], azurite: Any, fake: Any):
        self.factory, self.fake = factory, fake
        self.blobs = azurite.client()
        self.client = BatchClient(fake.url, AzureNamedKeyCredential(ACCOUNT, KEY))
        self.job = "adfv2-nodes"
        # A node without package: its start task puts this environment's command in place.
        place = '"$AZ_BATCH_NODE_SHARED_DIR/evensplit/current/bin"'
        start = f"/bin/bash -c 'mkdir -p {place} && ln -s {BIN}/evensplit {place}/evensplit'"
        fake.pools["nodes"] = {
            "id": "nodes",
            "state": "active",
            "allocationState": "steady",
            "vmSize": "standard_d4ds_v5",
            "taskSlotsPerNode": 4,
            "currentDedicatedNodes": 1,
            "currentLowPriorityNodes": 0,
            "startTask": {"commandLine": start},
            "metadata": [{"name": "evensplit.package", "value": "current"}],
        }
        pool = models.BatchPoolInfo(pool_id="nodes")
        self.client.create_job(models.BatchJobCreateOptions(id=self.job, pool_info=pool))
        self.tasks: dict[str, dict[str, str]] = {}

    def perform(self, kind: str, activity: dict[str, Any], scope: Scope) -> dict[str, Any]:
        return getattr(self, f"do_{kind.lower()}")(activity, activity["typeProperties"])

    # -- data

    def _place(self, reference: Mapping[str, Any]) -> tuple[Any, str, dict[str, Any]]:
        """Return container, path and the properties of a dataset."""
        dataset = self.factory["dataset"][reference["referenceName"]]["properties"]
        given = reference.get("parameters", {})
        assert set(given) == set(dataset["parameters"])
        properties = resolve(dataset["typeProperties"], Scope(dataset=given))
        location = properties["location"]
        words = [location.get("folderPath"), location.get("fileName")]
        path = "/".join(word.strip("/") for word in words if word)
        return self.blobs.get_container_client(location["fileSystem"]), path, properties

    def do_getmetadata(self, activity: Any, properties: Any) -> dict[str, Any]:
        container, path, _ = self._place(properties["dataset"])
        found = list(container.walk_blobs(f"{path}/"))
        asked = properties["fieldList"]
        if not found:
            if "exists" not in asked:
                raise ActivityFailed(f"The required Blob is missing: {path}", "2011")
            return {"exists": False}
        items = [
            {
                "name": item.name.rstrip("/").rpartition("/")[2],
                "type": "Folder" if isinstance(item, BlobPrefix) else "File",
            }
            for item in found
        ]
        assert len(json.dumps(items)) <= MAX_ANSWER_BYTES
        answer = {"exists": True, "childItems": items}
        return {name: answer[name] for name in asked}

    def do_lookup(self, activity: Any, properties: Any) -> dict[str, Any]:
        container, path, form = self._place(properties["dataset"])
        rows = self._rows(container, path, form)[:MAX_ROWS]
        assert len(json.dumps(rows)) <= MAX_ANSWER_BYTES
        return {"count": len(rows), "value": rows}

    def _rows(self, container: Any, path: str, form: Mapping[str, Any]) -> list[dict[str, Any]]:
        text = container.download_blob(path).readall().decode(form["encodingName"])
        assert form["escapeChar"] == form["quoteChar"]
        reader = csv.DictReader(
            io.StringIO(text, newline=""),
            delimiter=form["columnDelimiter"],
            quotechar=form["quoteChar"],
        )
        return [
            {k: None if v == form["nullValue"] else v for k, v in row.items()} for row in reader
        ]

    def do_copy(self, activity: Any, properties: Any) -> dict[str, Any]:
        (source,), (target,) = activity["inputs"], activity["outputs"]
        if properties["source"]["type"] == "ParquetSource":
            return self._merge(properties, self._place(source), self._place(target))
        return self._page(properties, self._place(source), self._place(target))

    def _merge(self, properties: Any, source: Any, target: Any) -> dict[str, Any]:
        assert properties["sink"]["storeSettings"]["copyBehavior"] == "MergeFiles"
        container, folder, _ = source
        pattern = properties["source"]["storeSettings"]["wildcardFileName"]
        names = [b.name for b in container.list_blobs(f"{folder}/")]
        names = [n for n in names if fnmatch.fnmatch(n.rpartition("/")[2], pattern)]
        tables = [pq.read_table(io.BytesIO(container.download_blob(n).readall())) for n in names]
        out = io.BytesIO()
        pq.write_table(pa.concat_tables(tables), out, **OPTIONS)
        target[0].upload_blob(target[1], out.getvalue(), overwrite=True)
        return {"filesRead": len(names), "filesWritten": 1}

    def _page(self, properties: Any, source: Any, target: Any) -> dict[str, Any]:
        settings = properties["sink"]["formatSettings"]
        rows, most = self._rows(*source), settings["maxRowsPerFile"]
        for number, first in enumerate(range(0, len(rows), most)):
            out = io.StringIO(newline="")
            writer = csv.DictWriter(out, list(rows[0]), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows[first : first + most])
            name = f"{settings['fileNamePrefix']}_{number:05}{settings['fileExtension']}"
            target[0].upload_blob(f"{target[1]}/{name}", out.getvalue().encode())
        return {"rowsCopied": len(rows)}

    # -- tasks

    def do_custom(self, activity: Any, properties: Any) -> dict[str, Any]:
        service = self.factory["linkedService"][activity["linkedServiceName"]["referenceName"]]
        assert service["properties"]["type"] == "AzureBatch"
        task_id = str(uuid.uuid4())
        options = models.BatchTaskCreateOptions(
            id=task_id,
            command_line=properties["command"],
            constraints=models.BatchTaskConstraints(max_task_retry_count=0),
        )
        folder = self.fake.directory(self.job, task_id) / "wd"
        folder.mkdir(parents=True)
        self.tasks[task_id] = self._lay(folder, activity, properties)
        self.client.create_tasks(self.job, [options])
        while self.fake.tasks[self.job][task_id]["state"] != "completed":
            time.sleep(0.02)
        task = self.client.get_task(self.job, task_id)
        code = task.execution_info.exit_code
        output = {
            "exitcode": code,
            "outputs": [f"https://work/adfjobs/{task_id}/output/stdout.txt"],
        }
        if code:
            raise ActivityFailed(f"Custom activity's exit code is {code}", "2500", output)
        told = folder / "outputs.json"
        if told.exists():
            assert told.stat().st_size <= MAX_OUTPUT_BYTES
            output["customOutput"] = json.loads(told.read_text())
        return output

    def _lay(self, folder: Any, activity: Any, properties: Any) -> dict[str, str]:
        references = properties["referenceObjects"]
        files = {"activity": activity}
        for name, kind in (("linkedServices", "linkedService"), ("datasets", "dataset")):
            files[name] = [self.factory[kind][r["referenceName"]] for r in references[name]]
        texts = {name: json.dumps(content) for name, content in files.items()}
        for name, text in texts.items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8-sig")
        return texts

    # -- requests

    def do_webactivity(self, activity: Any, properties: Any) -> dict[str, Any]:
        assert properties["authentication"] == {
            "type": "MSI",
            "resource": "https://batch.core.windows.net/",
        }
        parts = urllib.parse.urlsplit(properties["url"])
        body = json.dumps(properties["body"]).encode() if "body" in properties else None
        headers = {"ocp-date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())}
        if body:
            headers |= {"Content-Type": properties["headers"]["Content-Type"]}
        signed = {k.lower(): v for k, v in headers.items()} | (
            {"content-length": str(len(body))} if body else {}
        )
        headers["Authorization"] = signature(
            properties["method"], parts.path, signed, urllib.parse.parse_qs(parts.query)
        )
        request = urllib.request.Request(
            properties["url"], data=body, method=properties["method"], headers=headers
        )
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ActivityFailed(error.read().decode(), str(error.code)) from None
        return json.loads(text) if text else {}
