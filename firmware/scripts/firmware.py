"""Puts the firmware of a board together, on nnhost's platform and on PlatformIO's own alike.

A pre: script of all environments in platformio.ini; the environment's name is the board's. It calls
the code generator, names sources, flags and memory limits, and has the sizes checked.
"""

import json
import os
import subprocess
from pathlib import Path

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
name = env["PIOENV"]
project = Path(env.subst("$PROJECT_DIR"))
firmware = Path(env.subst("$PROJECT_SRC_DIR"))
generated = project / "build" / name
record_path = firmware / "boards" / f"{name}.json"
record = json.loads(record_path.read_text(encoding="utf-8"))["nnhost"]
memories = record["memories"]

# In a checkout, nnhost lies beside its firmware, whether or not it is installed.
search = [str(firmware.parent / "host"), os.environ.get("PYTHONPATH", "")]
env["ENV"]["PYTHONPATH"] = os.pathsep.join(filter(None, search))


def generate():
    """Writes the net's sources. A project without nn.toml brings its own."""
    if os.environ.get("NNHOST_GENERATED") or not (project / "nn.toml").exists():
        return
    command = [env.subst("$PYTHONEXE"), "-m", "nnhost.generate", "--board", name]
    if subprocess.run([*command, "--project", project], env=env["ENV"]).returncode != 0:
        env.Exit(1)


def add_mcs51_flags():
    env.Replace(OBJSUFFIX=".rel")
    limits = {
        "--iram-size": memories["iram"]["size"],
        "--xram-loc": 0,  # by default SDCC begins at 1, and would fill one byte more than there is
        "--xram-size": memories["xram"]["size"],
        "--code-size": memories["flash"]["size"],
    }
    env.Append(
        CFLAGS=["--std-c99"],
        CCFLAGS=["-mmcs51", "--Werror", *record["flags"]],
        LINKFLAGS=["-mmcs51", *(str(word) for limit in limits.items() for word in limit)],
    )


def add_gcc_flags():
    env.Append(
        CFLAGS=["-std=c99"],
        CCFLAGS=["-Wall", "-Wextra", "-Wconversion", "-Werror"],
    )
    env.Append(CCFLAGS=["-ffunction-sections", "-fdata-sections", *record["flags"]])
    env.Append(LINKFLAGS=["-Wl,--gc-sections"])


def add_cortex_m_flags():
    add_gcc_flags()
    cpu = ["-mthumb", f"-mcpu={record['cpu']}"]
    env.Append(CCFLAGS=cpu, LINKFLAGS=[*cpu, "-nostartfiles", "--specs=nano.specs"])
    for space, memory in memories.items():
        for key, value in memory.items():
            symbol = f"NN_{space}_{key}".upper()
            env.Append(LINKFLAGS=[f"-Wl,--defsym={symbol}={value}"])
    env.Replace(LDSCRIPT_PATH=str(firmware / "ports" / "cortex-m" / "nn_cortex_m.ld"))


def add_host_flags():
    add_gcc_flags()
    env.Append(CPPDEFINES=[("_POSIX_C_SOURCE", "200809L")])


if not env.IsCleanTarget():
    generate()

{"mcs51": add_mcs51_flags, "cortex-m": add_cortex_m_flags, "host": add_host_flags}[
    record["family"]
]()

folders = [firmware / "core", *(firmware / "ports" / port for port in record["ports"])]
if "NN_KERNELS 1" in (generated / "nn_config.h").read_text(encoding="utf-8"):
    folders.append(firmware / "kernels" / record["family"])
env.Append(
    CPPPATH=[str(folder) for folder in [generated, *folders]],
    CPPDEFINES=list(record.get("defines", {}).items()),
)
for folder in [*folders, generated]:
    env.BuildSources(f"$BUILD_DIR/{folder.parent.name}/{folder.name}", str(folder))

env.AddPostAction(
    "$PROGPATH",
    env.VerboseAction(
        f'"$PYTHONEXE" "{firmware / "scripts" / "size.py"}" "{record_path}" "$TARGET"',
        "Checking the size of $TARGET",
    ),
)
env.AddCustomTarget(
    "train",
    env.Alias("upload"),
    '"$PYTHONEXE" -m nnhost -C "$PROJECT_DIR" watch --board $PIOENV',
    title="Train",
    description="Flash the board, train on it and watch",
)
