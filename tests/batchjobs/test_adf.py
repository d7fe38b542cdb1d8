"""The Custom activity's contract: what Data Factory leaves in the directory, what it gets back."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from batchjobs import adf
from engine import BadSetting
from tests.azurite import KEY as STORAGE_KEY
from tests.engine.running import run, write_source

KEY = "hidden+not/to/be/seen=="
LAKE = {
    "name": "lake",
    "properties": {
        "type": "AzureBlobFS",
        "typeProperties": {"url": "https://acc.dfs.core.windows.net/"},
    },
}
VAULT = {
    "name": "vault",
    "properties": {"type": "AzureKeyVault", "typeProperties": {"baseUrl": "https://v/"}},
}


def dataset(name, **location):
    reference = {"referenceName": "lake", "type": "LinkedServiceReference"}
    return {
        "name": name,
        "properties": {"linkedServiceName": reference, "typeProperties": {"location": location}},
    }


def lay(folder, properties, services=(), datasets=()):
    content = {"typeProperties": {"command": "x", "extendedProperties": properties}}
    # Data Factory writes a byte order mark.
    (folder / "activity.json").write_text(json.dumps(content), encoding="utf-8-sig")
    (folder / "linkedServices.json").write_text(json.dumps(list(services)), encoding="utf-8-sig")
    (folder / "datasets.json").write_text(json.dumps(list(datasets)), encoding="utf-8-sig")
    return folder


def read(folder, **properties):
    return adf.read_activity(
        lay(folder, {"source": "abfs://c/a", "destination": "abfs://c/p"} | properties)
    )


@pytest.fixture
def work(tmp_path, monkeypatch):
    folder = tmp_path / "wd"
    folder.mkdir()
    monkeypatch.setenv("AZ_BATCH_TASK_WORKING_DIR", str(folder))
    for name in adf.SECRETS.values():
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
    return folder


def test_properties_get_their_types(tmp_path):
    got = read(
        tmp_path, target_size="10MB", parts="", cut=None, workers="2", overwrite="True",
        report_errors=True, slots_per_node="4", num_slots=2, identity_client_id="1-2",
    )  # fmt: skip
    assert got.settings == {"target_size": "10MB", "workers": 2, "overwrite": True}
    assert (got.report_errors, got.slots_per_node, got.num_slots) == (True, 4, 2)
    assert got.environment == {"AZURE_CLIENT_ID": "1-2"}
    assert (got.action, got.task().files[0].source) == ("split", "abfs://c/a")


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"target": "1MB"}, "no setting 'target'"),
        ({"source": ""}, "no source"),
        ({"source": ["a"]}, "source is not str"),
        ({"report_errors": "maybe"}, "report_errors is not bool"),
        ({"num_slots": 1.5}, "num_slots is not int"),
        ({"num_slots": True}, "num_slots is not int"),
        ({"num_slots": 2}, "1 to slots_per_node"),
        ({"workers": {"value": "@x", "type": "Expression"}}, "workers is"),
        ({"action": "merge"}, "split or submit"),
        ({"action": "submit", "pool": "p"}, "pool and endpoint"),
        ({"pool": "p"}, "only of the action submit"),
        ({"source": "c/a"}, "no linked service"),
    ],
)
def test_wrong_properties_are_named(tmp_path, properties, told):
    with pytest.raises(BadSetting, match=told):
        read(tmp_path, **properties)


@pytest.mark.parametrize("text", [None, "", "{}", '{"typeProperties": {}}', "[]"])
def test_what_is_no_activity_is_refused(work, text):
    if text is not None:
        (work / "activity.json").write_text(text)
    ended = run("batch", "activity")
    assert (ended.code, "call.setting: " in ended.err) == (2, True)


def test_places_are_found_through_linked_services_and_datasets(tmp_path):
    datasets = [
        dataset("from", fileSystem="in", folderPath="a/b", fileName="c d.parquet"),
        dataset("to", fileSystem="out"),
        dataset(
            "unclear", fileSystem="in", fileName={"value": "@dataset().f", "type": "Expression"}
        ),
    ]
    given = {"source": "from", "destination": "to", "done_folder": "out/done; x"}
    got = adf.read_activity(lay(tmp_path, given, [VAULT, LAKE], datasets))
    assert got.source == "abfss://in@acc.dfs.core.windows.net/a/b/c d.parquet"
    assert got.destination == "abfss://out@acc.dfs.core.windows.net/"
    assert got.done_folder == "abfss://out@acc.dfs.core.windows.net/done; x"
    old = dataset("old")
    old["properties"]["typeProperties"] = {"folderPath": "in/a/b/", "fileName": "c.parquet"}
    with_old = adf.read_activity(lay(tmp_path, given | {"source": "old"}, [LAKE], [*datasets, old]))
    assert with_old.source == "abfss://in@acc.dfs.core.windows.net/a/b/c.parquet"
    empty = dataset("empty", folderPath="a")
    with pytest.raises(BadSetting, match="empty"):
        adf.read_activity(lay(tmp_path, given | {"source": "empty"}, [LAKE], [*datasets, empty]))
    with pytest.raises(BadSetting, match="unclear"):
        adf.read_activity(lay(tmp_path, given | {"source": "unclear"}, [LAKE], datasets))
    (tmp_path / "linkedServices.json").write_text('{"name": 1}')
    with pytest.raises(BadSetting, match=r"linkedServices\.json"):
        adf.read_activity(tmp_path)


def test_a_secure_string_is_read_and_shown_to_nobody(work, tmp_path, capfd):
    secure = {"type": "SecureString", "value": KEY}
    got = read(work, storage_account_key=secure)
    assert got.environment == {"AZURE_STORAGE_ACCOUNT_KEY": KEY}
    assert KEY not in repr(got) + str(got)
    given = {"source": str(tmp_path / "none"), "destination": str(tmp_path / "p")}
    lay(work, given | {"storage_account_key": secure})
    ended = run("batch", "activity")
    assert (ended.code, "call.no-source" in ended.err) == (2, True)
    for wrong in (
        {"key": secure},
        {"storage_account_key": KEY},
        {"storage_sas_token": {"value": KEY}},
    ):
        lay(work, given | wrong)
        refused = run("batch", "activity")
        assert (refused.code, next(iter(wrong)) in refused.err) == (2, True)
        assert KEY not in refused.err + refused.out
    left = "".join(path.read_text() for path in work.iterdir() if path.name != "activity.json")
    assert KEY not in ended.err + ended.out + left + "".join(capfd.readouterr())


def test_a_secure_string_opens_the_store_that_it_is_for(work, tmp_path, azurite):
    container = azurite.new_container()
    data = write_source(tmp_path / "a.parquet", 2_000).read_bytes()
    azurite.client().get_container_client(container).upload_blob("a.parquet", data)
    secure = {"type": "SecureString", "value": azurite.connection_string}
    given = {"source": f"abfs://{container}/a.parquet", "destination": f"abfs://{container}/p"}
    lay(work, given | {"storage_connection_string": secure})
    ended = run("batch", "activity")
    assert (ended.code, ended.err) == (0, "")
    left = "".join(path.read_text() for path in work.iterdir() if path.name != "activity.json")
    assert STORAGE_KEY not in ended.out + left
    assert json.loads((work / "outputs.json").read_text())["num_rows"] == 2_000


def test_a_split_gives_totals_and_a_page_of_parts(tmp_path, work):
    write_source(tmp_path / "a.parquet", 3_000)
    parts = str(tmp_path / "p")
    done = {"done_folder": str(tmp_path / "done")}
    lay(
        work,
        {"source": str(tmp_path / "a.parquet"), "destination": parts, "rows_per_part": "25"} | done,
    )
    ended = run("batch", "activity")
    assert ended.code == 0
    outputs = json.loads((work / "outputs.json").read_text())
    assert (outputs["outcome"], outputs["num_parts"], outputs["num_rows"]) == ("done", 120, 3_000)
    assert outputs["manifest"] == f"{parts}/_evensplit/manifest.json"
    assert len(outputs["parts"]) == adf.MAX_PARTS_LISTED
    assert outputs["parts"][0] == {
        "name": "part-00000.parquet", "num_rows": 25,
        "size_bytes": (tmp_path / "p/part-00000.parquet").stat().st_size,
    }  # fmt: skip
    assert "120 of 120 parts" in ended.out
    assert (tmp_path / "done/a.parquet").read_bytes() == b""


def test_an_activity_splits_the_files_of_a_folder_that_globs_choose(tmp_path, work):
    for name in "abc":
        write_source(tmp_path / f"in/{name}.parquet", 100)
    given = {"source": str(tmp_path / "in"), "destination": str(tmp_path / "p"), "parts": 1}
    lay(work, given | {"include": "a.*,b.*", "exclude": "b.*"})
    assert run("batch", "activity").code == 0
    assert json.loads((work / "outputs.json").read_text())["num_rows"] == 100


@pytest.mark.parametrize("as_text", [True, False])
def test_any_setting_may_be_a_key_of_settings(tmp_path, work, as_text):
    (tmp_path / "a.csv").write_bytes("id;größe\n1;NULL\nx;2\n3;4,5\n".encode("latin-1"))
    given = {"source": str(tmp_path / "a.csv"), "destination": str(tmp_path / "out")}
    given |= {"target_size": "100MB", "bad_rows": "fail", "columns": ""}
    settings = {"to": "parquet", "encoding": "latin-1", "nulls": ",NULL", "decimal": ","}
    settings |= {"schema": "id bigint, größe double", "bad_rows": "file", "parts": 2, "codec": ""}
    lay(work, given | {"settings": json.dumps(settings) if as_text else settings})
    assert run("batch", "activity").code == 0
    outputs = json.loads((work / "outputs.json").read_text())
    assert (outputs["num_rows"], outputs["num_parts"]) == (2, 2)
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert rows == [{"id": 1, "größe": None}, {"id": 3, "größe": 4.5}]
    assert b'"x;2"' in (tmp_path / "out/_evensplit/bad-rows.csv").read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{to: parquet}", "settings is no JSON"),
        ("[" * 100_000, "settings is no JSON"),
        ("[1]", "settings is no JSON object"),
        ('{"source": "x"}', "settings has source, which is a property of its own"),
        ('{"storage_account_key": "s3cret"}', "settings has storage_account_key"),
        ('{"tu": "parquet"}', "a task has no setting 'tu'"),
        ('{"to": "orc"}', "--to is 'orc'"),
    ],
)
def test_settings_that_are_none_are_told(tmp_path, work, settings, message):
    given = {"source": str(tmp_path / "a.csv"), "destination": str(tmp_path / "out")}
    lay(work, given | {"settings": settings})
    ended = run("batch", "activity")
    assert (ended.code, message in ended.err, "s3cret" in ended.err) == (2, True, False)


def test_rows_that_nobody_counted_are_null(tmp_path, work):
    (tmp_path / "a.ndjson").write_bytes(b'{"id": 1}\n' * 5_000)
    given = {"source": str(tmp_path / "a.ndjson"), "destination": str(tmp_path / "out")}
    lay(work, given | {"target_size": "20kB"})
    assert run("batch", "activity").code == 0
    outputs = json.loads((work / "outputs.json").read_text())
    assert (outputs["num_rows"], outputs["num_parts"]) == (None, 3)
    assert [part["num_rows"] for part in outputs["parts"]] == [None] * 3
    assert sum(part["size_bytes"] for part in outputs["parts"]) == 50_000


@pytest.mark.parametrize("report_errors", [False, True])
def test_a_damaged_file_is_told_in_outputs_and_the_exit_code_is_chosen(
    tmp_path, work, report_errors
):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no footer PAR1")
    given = {"source": str(tmp_path / "bad.parquet"), "destination": str(tmp_path / "p")}
    given |= {"done_folder": str(tmp_path / "done"), "report_errors": report_errors}
    lay(work, given)
    ended = run("batch", "activity")
    assert ended.code == (0 if report_errors else 3)
    assert ended.err.startswith("evensplit: source.")
    outputs = json.loads((work / "outputs.json").read_text())
    assert outputs["outcome"] == "permanent"
    assert outputs["error"]["kind"].startswith("source.")
    assert not (tmp_path / "done").exists()


def test_outputs_stay_small_whatever_a_split_gave(tmp_path):
    """Names of parts and messages may be as long as they like, in any script."""
    parts = [{"name": "ü" * 2_000, "num_rows": 1, "size_bytes": 1}] * 100_000
    error = {"kind": "source", "exit_code": 3, "message": "ü" * 10**6}
    adf.write_outputs(tmp_path, {"num_parts": len(parts), "parts": parts, "error": error})
    size_bytes = (tmp_path / "outputs.json").stat().st_size
    assert size_bytes <= adf.MAX_OUTPUT_BYTES < (896 << 10) / 2
    told = json.loads((tmp_path / "outputs.json").read_text())
    assert told["num_parts"] == 100_000
    assert 10 < len(told["parts"]) < 100


WRONG = {
    "setting": ({"parts": "abc"}, "call.setting"),
    "destination": ({"destination": ""}, "call.setting"),
    "source": ({"source": "/none"}, "call.no-source"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("wants", [False, True])
def test_a_wrong_setting_is_an_output_where_errors_are(tmp_path, work, name, wants):
    changed, kind = WRONG[name]
    given = {"source": str(tmp_path / "a.parquet"), "destination": str(tmp_path / "out")}
    lay(work, given | changed | {"report_errors": wants})
    ended = run("batch", "activity")
    assert (ended.code, kind in ended.err) == (0 if wants else 2, True)
    assert "Traceback" not in ended.err
    if wants:
        told = json.loads((work / adf.OUTPUTS).read_text())
        assert (told["outcome"], told["error"]["kind"]) == ("permanent", kind)
