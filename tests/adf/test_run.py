"""The pipelines of ``conf/adf`` as they run: real tasks, real blobs, Data Factory's own rules."""

from __future__ import annotations

import csv
import io

import pyarrow.parquet as pq
import pytest

from tests.azurite import KEY as STORAGE_KEY
from tests.batchjobs import fake_batch
from tests.batchjobs.fake_batch import KEY as BATCH_KEY
from tests.batchjobs.fake_batch import FakeBatch
from tests.engine.running import OPTIONS, make_table, run

pytestmark = pytest.mark.slow
HOSTILE = [
    "a b.parquet",
    'it\'s "quoted".parquet',
    "$(touch pwned) $HOME `id`.parquet",
    "a;touch pwned; &|>x.parquet",
    "@{pipeline().RunId} @item().parquet",
    "größe 数据 🦆.parquet",
    "--dest=x %20 +#.parquet",
]


def parquet(num_rows=1_500, seed=1):
    out = io.BytesIO()
    pq.write_table(make_table(num_rows, seed), out, row_group_size=700, **OPTIONS)
    return out.getvalue()


def put(container, path, data):
    container.upload_blob(path, data, overwrite=True)


def names(container, prefix):
    return [blob.name for blob in container.list_blobs(prefix)]


def verified(container, folder):
    return run("verify", f"abfs://{container.container_name}/{folder}").code == 0


def where(container, **more):
    system = container.container_name
    return {"fileSystem": system, "destinationFileSystem": system} | more


def manifests(container):
    return {name for name in names(container, "out/") if name.endswith("manifest.json")}


NUM_GOOD = 4


def test_a_folder_with_one_damaged_and_again_once_it_is_mended(place):
    runner, world, container = place
    for number in range(NUM_GOOD):
        put(container, f"in/f{number:02}.parquet", parquet(seed=number))
    put(container, "in/bad.parquet", b"PAR1 this is not a file PAR1")
    put(container, "in/notes.txt", b"not of the pattern")
    put(container, "in/deeper/x.parquet", b"a folder is not looked into")
    first = runner.run("split_folder", **where(container))
    assert (first.status, first.returned["num_done"]) == ("Failed", NUM_GOOD)
    assert f"{NUM_GOOD} of {NUM_GOOD + 1} files done; failed: bad.parquet: source." in first.message
    (refused,) = first.of("Refuse file", "Failed")
    assert refused.error["errorCode"].startswith("source.")
    assert refused.error["message"].startswith("bad.parquet: ")
    told = [ran.output["customOutput"] for ran in first.of("Split file")]
    (bad,) = [item for item in told if item["outcome"] != "done"]
    assert bad["source"].endswith("/in/bad.parquet")
    assert bad["error"]["message"] in first.message
    assert {ran.users["file"] for ran in first.of("Split file")} == {
        "bad.parquet", *(f"f{number:02}.parquet" for number in range(NUM_GOOD)),
    }  # fmt: skip
    # What lasts is not repeated.
    assert {ran.attempts for ran in first.of("Split file")} == {1}
    assert len(manifests(container)) == NUM_GOOD
    assert all(verified(container, f"out/f{number:02}.parquet") for number in range(NUM_GOOD))
    before = {blob.name: blob.last_modified for blob in container.list_blobs("out/")}
    put(container, "in/bad.parquet", parquet(seed=77))
    second = runner.run("split_folder", **where(container))
    assert (second.status, second.returned["num_done"]) == ("Succeeded", 1)
    assert second.returned["done"] == ["bad.parquet: 2 parts, 1500 rows"]
    assert len(second.of("Split file")) == 1
    assert verified(container, "out/bad.parquet")
    after = {blob.name: blob.last_modified for blob in container.list_blobs("out/")}
    assert {name: after[name] for name in before} == before
    third = runner.run("split_folder", **where(container))
    assert (third.status, third.of("Split file")) == ("Succeeded", [])
    no_secret(world)


def no_secret(world):
    """Nothing that a task was given or said has a key in it."""
    texts = [text for files in world.tasks.values() for text in files.values()]
    assert len(texts) >= 3
    files = [path for path in world.fake.folder.rglob("*") if path.suffix in (".txt", ".json")]
    texts += [path.read_text(encoding="utf-8", errors="replace") for path in files]
    assert len(files) >= 12
    assert not [text for text in texts if STORAGE_KEY in text or BATCH_KEY in text]


def test_names_of_files_reach_the_engine_unharmed(place, tmp_path):
    runner, world, container = place
    for seed, name in enumerate(HOSTILE):
        put(container, f"in/{name}", parquet(800, seed))
    ran = runner.run("split_folder", **where(container, destination="o ut;$x"))
    assert (ran.status, ran.message) == ("Succeeded", "")
    assert ran.returned["num_done"] == len(HOSTILE)
    done = {name.rpartition("/")[2] for name in names(container, "o ut;$x/_done/")}
    assert done == set(HOSTILE)
    for name in HOSTILE:
        assert verified(container, f"o ut;$x/{name}"), name
    assert not list(world.fake.folder.rglob("pwned"))
    assert not [p for p in tmp_path.rglob("*") if p.name == "pwned"]
    again = runner.run("split_folder", **where(container, destination="o ut;$x"))
    assert again.of("Split file") == []


def test_folders_may_end_in_a_slash(place):
    runner, _, container = place
    put(container, "in/a.parquet", parquet())
    for number in (1, 0):
        ran = runner.run("split_folder", **where(container, folder="in/", destination="out/"))
        assert (ran.status, ran.message) == ("Succeeded", "")
        assert len(ran.of("Split file")) == number
    assert "out/_done/a.parquet" in names(container, "out/")
    assert verified(container, "out/a.parquet")
    assert not [name for name in names(container, "") if "//" in name]


def test_one_file_is_merged_and_split(place):
    runner, _, container = place
    system = container.container_name
    for number in range(3):
        put(container, f"input/day {number}/x.parquet", parquet(2_000, number))
    given = {"inputFileSystem": system, "sourceFileSystem": system, "destinationFileSystem": system}
    ran = runner.run("split_one", **given, targetSize="90kB")
    assert ran.message == ""
    assert ran.returned["num_rows"] == 6_000
    assert ran.returned["num_parts"] == len(names(container, "parts/part-")) > 1
    assert verified(container, "parts")
    put(container, "input/day 0/x.parquet", parquet(900, 9))
    assert runner.run("split_one", **given).returned["num_rows"] == 4_900
    small = runner.run("split_one", **given, targetSize="1kB")
    assert (small.status, small.message.startswith("merged.parquet: ")) == ("Failed", True)


def test_a_list_is_paged_and_every_row_has_its_own_settings(place):
    runner, _, container = place
    system = container.container_name
    rows = []
    for number in range(3):
        put(container, f'in/q,"{number}.parquet', parquet(600, number))
        source = f'{system}/in/q,"{number}.parquet'
        row = {"source": source, "destination": f"{system}/o/{number}", "parts": "", "codec": ""}
        rows.append(row | ({"parts": "3", "codec": "gzip"} if number == 1 else {}))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    put(container, "control/files.csv", out.getvalue().encode())
    ran = runner.run("split_list", fileSystem=system, pageRows=2, targetSize="1MB")
    assert (ran.status, ran.message) == ("Succeeded", "")
    assert [page.returned["num_files"] for page in pages_of(ran)] == [2, 1]
    assert [len(names(container, f"o/{number}/part-")) for number in range(3)] == [1, 3, 1]
    part = container.download_blob("o/1/part-00000.parquet").readall()
    assert pq.ParquetFile(io.BytesIO(part)).metadata.row_group(0).column(0).compression == "GZIP"
    rows[2]["source"] += " is not there"
    out = io.StringIO(newline="")
    csv.DictWriter(out, list(rows[0])).writerows(
        [dict(zip(rows[0], rows[0], strict=True)), rows[2]]
    )
    put(container, "control/files.csv", out.getvalue().encode())
    missing = runner.run("split_list", fileSystem=system)
    assert (missing.status, "call.no-source" in missing.message) == ("Failed", True)


def pages_of(ran):
    return [child for child in ran.children if child.pipeline == "split_list_page"]


def test_a_list_longer_than_a_lookup_takes_is_read_whole(place):
    """Without tasks: what matters is that no row is lost between the pages.

    As few rows as do for two pages, of more than a Lookup returns: it returns 5,000.
    """
    runner, world, container = place
    asked = []

    def note(activity, properties):
        asked.append(properties["extendedProperties"]["source"])
        told = {"outcome": "done", "num_parts": 1, "num_rows": 1, "error": None}
        return {"customOutput": told}

    world.do_custom = note
    lines = ["source,destination", *(f"c/in/{number},c/out/{number}" for number in range(5_432))]
    put(container, "control/files.csv", "\n".join(lines).encode())
    system = container.container_name
    ran = runner.run("split_list", fileSystem=system, pageRows=20_000)
    assert ran.status == "Succeeded"
    assert [page.returned["num_files"] for page in pages_of(ran)] == [5_000, 432]
    assert sorted(asked) == sorted(f"c/in/{number}" for number in range(5_432))


def test_a_fan_out_submits_a_job_waits_and_tells_what_failed(place):
    runner, world, container = place
    for seed, name in enumerate(HOSTILE[-2:]):
        put(container, f"in/{name}", parquet(seed=seed))
    put(container, "in/bad.parquet", b"PAR1 this is not a file PAR1")
    first = runner.run("split_fanout", **where(container))
    assert first.status == "Failed"
    assert "bad.parquet: source." in first.message
    (told,) = [ran.output["customOutput"] for ran in first.of("Submit and wait")]
    assert (told["counts"]["done"], told["counts"]["failed"]) == (2, 1)
    (failure,) = told["failures"]
    assert failure["file"].endswith("bad.parquet")
    put(container, "in/bad.parquet", parquet())
    second = runner.run("split_fanout", **where(container))
    assert (second.status, second.message) == ("Succeeded", "")
    assert second.returned["counts"]["done"] == 1
    assert len(manifests(container)) == 3
    no_secret(world)


def test_lines_become_parquet_by_any_pipeline_that_is_told_so(place):
    runner, _, container = place
    for name in ("in/a.csv", "in/b.csv", "in/old.csv", "in/c.txt.bak"):
        put(container, name, b"id;n\n007;1,5\n8;2,5\n")
    settings = '{"to": "parquet", "schema": "id varchar", "decimal": ",", "parts": 1}'
    given = where(container, settings=settings)
    one = runner.run("split_folder", **given, pattern="*.csv")
    assert (one.status, one.returned["num_done"]) == ("Succeeded", 3)
    many = where(container, settings=settings, destination="many")
    ran = runner.run("split_fanout", **many, include="*.csv", exclude="old.*")
    assert (ran.status, ran.returned["counts"]["done"]) == ("Succeeded", 2)
    rows = "source,destination,settings\n"
    quoted = settings.replace('"', '""')
    rows += f'{container.container_name}/in/a.csv,{container.container_name}/list,"{quoted}"\n'
    put(container, "control/files.csv", rows.encode())
    system = container.container_name
    listed = runner.run("split_list", fileSystem=system)
    assert (listed.status, listed.message) == ("Succeeded", "")
    for part in ("out/a.csv", "many/a", "list"):
        data = container.download_blob(f"{part}/part-00000.parquet").readall()
        assert pq.read_table(io.BytesIO(data)).to_pylist() == [
            {"id": "007", "n": 1.5},
            {"id": "8", "n": 2.5},
        ]


def test_a_pool_is_resized_before_and_after_also_when_files_fail(place, monkeypatch):
    runner, world, container = place
    fake = world.fake
    steadily(fake, monkeypatch)
    put(container, "in/bad.parquet", b"no")
    given = where(container, numDedicated=3, numSpot=2, pollSeconds=1)
    ran = runner.run("split_folder_resized", **given)
    assert (ran.status, "bad.parquet" in ran.message) == ("Failed", True)
    grow, split, shrink = ran.children
    assert (grow.returned, split.status) == ({"num_dedicated": 3, "num_spot": 2}, "Failed")
    assert shrink.returned == {"num_dedicated": 0, "num_spot": 0}
    assert fake.count("POST", "/pools/nodes/resize") == 2
    put(container, "in/bad.parquet", parquet(700))
    assert runner.run("split_folder_resized", **given).status == "Succeeded"
    del fake.pools["nodes"]
    lost = runner.run("split_folder_resized", **given)
    assert (lost.status, "PoolNotFound" in lost.message) == ("Failed", True)
    assert lost.of("Split folder", "Skipped")


def test_a_pool_that_gets_no_node_is_told_in_the_services_words(place):
    runner, world, container = place
    fake = world.fake
    fake.set_nodes("nodes", 0)
    put(container, "in/a.parquet", parquet(700))
    fake.resize_error = {"code": "AccountCoreQuotaReached", "message": "no cores are left"}
    given = where(container, numDedicated=3, pollSeconds=1)
    ran = runner.run("split_folder_resized", **given)
    assert ran.status == "Failed"
    grow, shrink = ran.children
    assert "pool nodes got none of 3 dedicated and 0 Spot nodes" in grow.message
    assert "AccountCoreQuotaReached" in grow.message
    assert shrink.status == "Succeeded"


@pytest.mark.parametrize("name", ["split_folder", "split_list", "split_one", "split_fanout"])
def test_a_pool_without_nodes_and_formula_is_refused_at_once(place, name):
    runner, world, _ = place
    world.fake.set_nodes("nodes", 0)
    ran = runner.run(name)
    assert ran.status == "Failed"
    assert "pool nodes has no nodes, and no formula" in ran.message
    firsts = ("List sources", "Page the list", "Merge input", "Submit and wait")
    assert {step.status for first in firsts for step in ran.of(first)} == {"Skipped"}
    world.fake.pools["nodes"]["enableAutoScale"] = True
    assert runner.run("check_pool").status == "Succeeded"


def steadily(fake, monkeypatch):
    """A pool that takes a look or two to get its nodes."""
    fake.set_nodes("nodes", 0)

    def get_pool(fake, body, query, pool_id):
        pool = fake._pool(pool_id)
        pool["looks"] = pool.get("looks", 0) + 1
        state = "resizing" if pool["looks"] % 3 == 1 else "steady"
        return 200, pool | {"allocationState": state}

    routes = fake_batch.ROUTES
    routes = [(m, p, get_pool if f is FakeBatch.get_pool else f) for m, p, f in routes]
    monkeypatch.setattr(fake_batch, "ROUTES", routes)


def test_a_task_that_may_do_better_is_repeated_and_then_told(place):
    runner, world, container = place
    put(container, "in/a.parquet", parquet(700))
    plain, codes = world.do_custom, []

    def broken(activity, properties):
        # A node that is lost says nothing at all.
        codes.append(1)
        activity["typeProperties"]["command"] = "/bin/bash -c 'kill -9 $$'"
        return plain(activity, activity["typeProperties"])

    world.do_custom = broken
    ran = runner.run("split_folder", **where(container))
    assert (ran.status, len(codes)) == ("Failed", 3)
    assert "0 of 1 files done; failed: a.parquet: Custom activity's exit code is" in ran.message
    put(container, "control/page.csv", b"source,destination\nc/a,c/b\n")
    given = {"fileSystem": container.container_name, "folder": "control", "file": "page.csv"}
    row = runner.run("split_list_page", **given)
    assert "0 of 1 files done; failed: c/a: Custom activity's exit code is" in row.message


@pytest.mark.parametrize("name", ["split_folder", "split_one", "split_fanout"])
def test_an_activity_without_outputs_is_told(place, name):
    runner, world, container = place
    put(container, "in/a.parquet", parquet())
    put(container, "input/a.parquet", parquet())
    world.do_custom = lambda activity, properties: {}
    system = container.container_name
    given = (
        where(container)
        if name != "split_one"
        else {
            "inputFileSystem": system,
            "sourceFileSystem": system,
            "destinationFileSystem": system,
        }
    )
    ran = runner.run(name, **given)
    assert (ran.status, "left no outputs.json" in ran.message) == ("Failed", True)


def test_a_new_file_starts_a_run_of_its_own(place):
    runner, _, container = place
    put(container, "in/sub/a b.parquet", parquet(700))
    put(container, "in/sub/other.parquet", b"no")
    body = {"folderPath": f"{container.container_name}/in/sub", "fileName": "a b.parquet"}
    runner.factory["trigger"]["new_file"]["properties"]["pipelines"][0]["parameters"] |= {
        "destinationFileSystem": container.container_name
    }
    (ran,) = runner.trigger("new_file", body)
    assert (ran.status, ran.returned["num_done"]) == ("Succeeded", 1)
    assert verified(container, "out/sub/a b.parquet")
    put(container, "in/other/a b.parquet", parquet(600, 9))
    body_of_other = body | {"folderPath": f"{container.container_name}/in/other"}
    assert runner.trigger("new_file", body_of_other)[0].status == "Succeeded"
    assert verified(container, "out/other/a b.parquet")
    assert verified(container, "out/sub/a b.parquet")
    put(container, "in/top.parquet", parquet(500, 9))
    top = {"folderPath": f"{container.container_name}/in", "fileName": "top.parquet"}
    assert runner.trigger("new_file", top)[0].status == "Succeeded"
    assert verified(container, "out/top.parquet")
    written = container.get_blob_client("out/top.parquet/part-00000.parquet")
    before = written.get_blob_properties().etag
    assert runner.trigger("new_file", top)[0].status == "Succeeded"
    assert written.get_blob_properties().etag == before  # told twice, written once
    put(container, "in/sub/a b.parquet", parquet(900, 5))
    (other,) = runner.trigger("new_file", body)
    assert (other.status, other.returned["done"]) == (
        "Succeeded",
        ["a b.parquet: 1 parts, 900 rows"],
    )
    put(container, "in/sub/a b.parquet", parquet(800, 6))
    given = where(container, folder="in/sub", pattern="a*", destination="out/sub", skipDone=False)
    kept = runner.run("split_folder", **given)
    assert (kept.status, "source.changed" in kept.message) == ("Failed", True)
