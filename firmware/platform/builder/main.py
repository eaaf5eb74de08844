"""Builds and uploads the firmware of a virtual board; scripts/firmware.py has chosen its parts."""

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

env.AddPlatformTarget(
    "upload",
    program,
    env.VerboseAction(
        '"$PYTHONEXE" -m nnhost.run.flash "$PROJECT_DIR" $PIOENV "$SOURCE"',
        "Flashing $PIOENV with $SOURCE",
    ),
    "Upload",
    "Flash the virtual board and power it on for a moment",
)
