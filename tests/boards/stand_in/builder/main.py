"""Sets what the builders of PlatformIO's own platforms set, at the moments when they set it.

They know nothing of nnhost: scripts/firmware.py has run before, and must not be undone.
"""

from SCons.Script import AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
cpu = board.get("build.cpu")
env.Replace(PROGNAME="firmware")
env.Append(CPPDEFINES=[("F_CPU", "$BOARD_F_CPU")])

if cpu == "mcs51":
    env.Replace(AR="sdar", AS="sdas8051", CC="sdcc", LINK="sdcc", RANLIB="sdranlib")
    env.Replace(OBJSUFFIX=".rel", LIBSUFFIX=".lib", PROGSUFFIX=".hex")
    memories = []
    for memory in ("iram", "xram", "code"):
        memories += [f"--{memory}-size", str(board.get(f"build.size_{memory}"))]
    env.Append(
        ASFLAGS=["-l", "-s"],
        CFLAGS=["--std-sdcc11"],
        CCFLAGS=["--opt-code-size", "--peep-return", "-mmcs51"],
        LINKFLAGS=["-mmcs51", *memories, "--out-fmt-ihx"],
    )
    firmware = program = env.BuildProgram()
else:
    env.Replace(
        AR="arm-none-eabi-ar",
        AS="arm-none-eabi-as",
        CC="arm-none-eabi-gcc",
        LINK="arm-none-eabi-gcc",
        RANLIB="arm-none-eabi-ranlib",
        PROGSUFFIX=".elf",
    )
    env.Append(
        ASFLAGS=["-mthumb", f"-mcpu={cpu}"],
        ASPPFLAGS=["-x", "assembler-with-cpp"],
        CCFLAGS=["-Os", "-ffunction-sections", "-fdata-sections", "-Wall", "-mthumb"],
        LINKFLAGS=["-Os", "-Wl,--gc-sections,--relax", "-mthumb", f"-mcpu={cpu}"],
        LIBS=["c", "gcc", "m"],
        BUILDERS={
            "ElfToBin": Builder(
                action="arm-none-eabi-objcopy -O binary $SOURCES $TARGET", suffix=".bin"
            )
        },
    )
    env.Append(CCFLAGS=[f"-mcpu={cpu}"])
    program = env.BuildProgram()
    firmware = env.ElfToBin("$BUILD_DIR/${PROGNAME}", program)

AlwaysBuild(env.Alias("nobuild", firmware))
buildprog = env.Alias("buildprog", firmware, firmware)
upload = env.VerboseAction('cp $SOURCE "$PROJECT_DIR/uploaded"', "Uploading $SOURCE")
AlwaysBuild(env.Alias("upload", firmware, [upload]))
Default([buildprog])
