"""Puts the firmware of a board together, on nnhost's platform and on PlatformIO's own alike.

A pre: script of all environments in platformio.ini; the environment's name is the board's. It calls
the code generator, names sources, flags and memory limits, and has the sizes checked.
"""

import json
import os
import re
import subprocess
import sys
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
store = {}  # that of the board, where the net makes checkpoints


def main():
    # In a checkout, nnhost lies beside its firmware, whether or not it is installed.
    search = [str(firmware.parent / "host"), os.environ.get("PYTHONPATH", "")]
    env["ENV"]["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    if (project / "nn.toml").exists() and "NNHOST_GENERATED" not in os.environ:
        generate()
    if "NN_CHECKPOINT" in config():
        store.update(record["store"])
        memories["flash"]["size"] -= store.get("flash", 0)
    add_flags = {"mcs51": add_mcs51, "cortex-m": add_cortex_m, "host": add_host}
    add_flags[record["family"]]()
    add_sources()
    add_targets()


def config():
    return (generated / "nn_config.h").read_text(encoding="utf-8")


def generate():
    """Writes the net's sources. (A project without nn.toml brings its own.)"""
    python = env.subst("$PYTHONEXE")
    command = [python, "-m", "nnhost.generate", "--project", project, "--board", name]
    made = subprocess.run(command, env=env["ENV"], stderr=subprocess.PIPE, text=True)
    if "No module named" in made.stderr:
        made.stderr = f"error: PlatformIO runs in {python}, where nnhost is not installed\n"
        made.stderr += "help: call the pio that is installed beside nnhost\n"
    sys.stderr.write(made.stderr)
    if made.returncode != 0:
        env.Exit(1)


def add_mcs51():
    env.Replace(OBJSUFFIX=".rel")
    # By default SDCC begins at 1, and would fill one byte more than there is. Parameters in planes
    # lie before its own variables.
    planes = re.search(r"define NN_PLANES_BYTES (\d+)", config())
    begin = int(planes[1]) if planes else 0
    limits = {
        "--iram-size": memories["iram"]["size"],
        "--xram-loc": begin,
        "--xram-size": memories["xram"]["size"] - begin,
        "--code-size": memories["flash"]["size"],
    }
    env.Append(
        CFLAGS=["--std-c99"],
        CCFLAGS=["-mmcs51", "--Werror", *record["flags"]],
        LINKFLAGS=["-mmcs51", *(str(word) for limit in limits.items() for word in limit)],
    )


def add_gcc():
    env.Append(
        CFLAGS=["-std=c99"],
        CCFLAGS=["-Wall", "-Wextra", "-Wconversion", "-Werror"],
        LINKFLAGS=["-Wl,--gc-sections"],
    )
    env.Append(CCFLAGS=["-ffunction-sections", "-fdata-sections", *record["flags"]])


def add_cortex_m():
    add_gcc()
    cpu = ["-mthumb", f"-mcpu={record['cpu']}"]
    env.Append(CCFLAGS=cpu, LINKFLAGS=[*cpu, "-nostartfiles", "--specs=nano.specs"])
    for space, memory in memories.items():
        for key, value in memory.items():
            symbol = f"NN_{space}_{key}".upper()
            env.Append(LINKFLAGS=[f"-Wl,--defsym={symbol}={value}"])
    env.Replace(LDSCRIPT_PATH=str(firmware / "ports" / "cortex-m" / "nn_cortex_m.ld"))


def add_host():
    add_gcc()
    env.Append(CPPDEFINES=[("_POSIX_C_SOURCE", "200809L")])


def add_sources():
    ports = [*record["ports"], *store.get("ports", [])]
    folders = [firmware / "core", *(firmware / "ports" / port for port in ports)]
    if "NN_KERNELS 1" in config():
        folders.append(firmware / "kernels" / record["kernels"])
    folders.append(generated)
    env.Append(
        CPPPATH=[str(folder) for folder in folders],
        CPPDEFINES=list(record.get("defines", {}).items()),
    )
    for folder in folders:
        env.BuildSources(f"$BUILD_DIR/{folder.parent.name}/{folder.name}", str(folder))


def check_size(target, source, env):
    """Not a command line: a path may hold any sign that means something to a shell."""
    command = [env.subst("$PYTHONEXE"), str(firmware / "scripts" / "size.py"), str(record_path)]
    command += [target[0].get_abspath(), str(store.get("flash", 0))]
    return subprocess.run(command, env=env["ENV"]).returncode


def add_targets():
    env.AddPostAction("$PROGPATH", env.VerboseAction(check_size, "Checking the size of $TARGET"))
    env.AddCustomTarget(
        "train",
        env.Alias("upload"),
        '"$PYTHONEXE" -m nnhost -C "$PROJECT_DIR" watch --board $PIOENV',
        title="Train",
        description="Flash the board, train on it and watch",
    )


if not env.IsCleanTarget():
    main()
