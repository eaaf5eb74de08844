"""Builds and uploads the firmware of a virtual board; scripts/firmware.py has chosen its parts."""

import subprocess

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
family = env.BoardConfig().get("nnhost.family")

if family == "mcs51":
    env.Replace(CC="sdcc", LINK="sdcc", AS="sdas8051", AR="sdar", RANLIB="sdranlib")
    env.Replace(PROGSUFFIX=".hex")
else:
    prefix = "arm-none-eabi-" if family == "cortex-m" else ""
    env.Replace(CC=f"{prefix}gcc", LINK=f"{prefix}gcc", AS=f"{prefix}gcc", AR=f"{prefix}gcc-ar")
    env.Replace(PROGSUFFIX=".elf")
env.Replace(PROGNAME="firmware")

program = env.BuildProgram()
AlwaysBuild(env.Alias("nobuild", program))
Default(env.Alias("buildprog", program))


def flash(target, source, env):
    """Not a command line: a path may hold any sign that means something to a shell."""
    command = [env.subst("$PYTHONEXE"), "-m", "nnhost.run.flash", env.subst("$PROJECT_DIR")]
    command += [env["PIOENV"], source[0].get_abspath()]
    return subprocess.run(command, env=env["ENV"]).returncode


env.AddPlatformTarget(
    "upload",
    program,
    env.VerboseAction(flash, "Flashing $PIOENV with $SOURCE"),
    "Upload",
    "Flash the virtual board and power it on for a moment",
)
