"""One local Spark per test process: found Java, quiet, offline, and bound to 127.0.0.1."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from typing import Any

from tests.java import find_java

_SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "2g",
    # Many small queries in a short life: start fast rather than run fast.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.maxResultSize": "0",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.filterPushdown": "true",
    "spark.sql.files.ignoreCorruptFiles": "false",
    # Without it one nanosecond column makes Spark refuse the whole file.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.log.level": "OFF",
}


@cache
def spark_session() -> Any:
    """The session of this process; ``newSession()`` of it has settings of its own."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    find_java()
    from pyspark.sql import SparkSession

    scratch = tempfile.mkdtemp(prefix="evensplit-spark-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    builder = SparkSession.builder.master("local[2]").appName("witness")
    builder = builder.config("spark.local.dir", scratch)
    builder = builder.config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
    for key, value in _SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session
