"""Assembly with which an 8051's passes decay weights: subroutines that run over R1 columns.

They take DPTR at the first column's bytes, and leave R6:R4 for the next column. With N the random
bits of a weight in the form of 16, they work with 65535 - N: what `KEPT` keeps of the row in
`rows`, and R6:R4 of the column. Nearly all weights stay as they are, as their upper bytes tell; the
others are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from nnhost.kernels.mcs51_passes import Decay
from nnhost.layers.dense import spread

#: The next random number, in the generator's own two bytes.
NUMBER = """
    mov a, _nn_prng_state + 1 | rrc a | mov a, _nn_prng_state | rrc a
    xrl a, _nn_prng_state + 1 | mov _nn_prng_state + 1, a | rrc a
    xrl a, _nn_prng_state | mov _nn_prng_state, a | xrl _nn_prng_state + 1, a
"""

#: Draws what the rows of a block will draw, as nothing but the generator's state will tell.
KEPT = f"""
    ; The complement of every second number of so many rows as stride says: upper bytes at rows,
    ; the lower ones behind them.
    kept: mov r0, #rows | mov r7, stride | mov a, r7 | add a, #rows | mov r1, a
    kept_row: mov r2, #2
    kept_number:
    {NUMBER}
    djnz r2, kept_number
    cpl a | mov @r1, a | inc r1
    mov a, _nn_prng_state + 1 | cpl a | mov @r0, a | inc r0
    djnz r7, kept_row
    ret
"""

#: The same where these numbers have been drawn already.
COPIED = """
    ; DPTR to the second number of the first row, of two a row.
    copied: mov r0, #rows | mov r7, stride | mov a, r7 | add a, #rows | mov r1, a
    copied_row: movx a, @dptr | cpl a | mov @r1, a | inc r1 | inc dptr
    movx a, @dptr | cpl a | mov @r0, a | inc r0 | inc dptr | inc dptr | inc dptr
    djnz r7, copied_row
    ret
"""


@dataclass(frozen=True)
class Bounds:
    """How the seen weight V = u - 128 alone tells that l2 takes nothing, u being its upper byte.

    What is taken is (t + N) >> 16 with t = floor(R * slope), R being 256 * V - 128 at least and
    256 * V + 127 at most. That is 0 where 0 <= 65535 - N - t < 65536, or, in units of 2^(8 + bits),
    where it is at least 0 and below 2^(8 - bits). From u and the upper bytes of the noise

        least - (u * factor >> 8) + (noise >> bits)

    is less than that, and less by a bounded difference: where it is within 0..most - 1, unsigned
    in a byte, nothing is taken. Noise is one more where the first two terms are negative: without
    the carry from the lower bytes it could be 255 while it is 0.
    """

    bits: int
    factor: int
    least: int
    most: int

    @classmethod
    def of(cls, factor: int, shift: int) -> Bounds:
        """Of an l2 with such a factor and a shift of 16 at least."""
        slope = Fraction(factor, 1 << (shift - 16))  # of t, for V in units of 256
        bits = 1
        while slope * 256 > 255 << bits or slope > 2 * ((1 << bits) - 1):
            bits += 1
        unit = 1 << bits
        exact = slope * 256 / unit
        near = floor(exact + Fraction(1, 2))
        # Both sides: what the rounding of the factor and the lower byte of R amount to.
        spare = abs(exact - near) / 2 + slope / unit / 2
        start = Fraction(near, 2)
        least = floor(start - 1 - Fraction(1, unit) - spare)
        above = start - least + 1 + Fraction(1, unit) + spare + Fraction(1, 256 * unit)
        return cls(bits, near, least, (256 >> bits) + 1 - ceil(above))


#: To the right by so many bits, the upper ones being of no account.
_ROTATED = {
    1: "rr a", 2: "rr a | rr a", 3: "swap a | rl a", 4: "swap a", 5: "swap a | rr a",
    6: "rl a | rl a", 7: "rl a",
}  # fmt: skip


def decay_start(decay: Decay) -> int:
    """R6:R4 for the first column."""
    return 0 if decay.kind == "l2" else 65536 - _share(decay) & 65535


def _share(decay: Decay) -> int:
    """The part of l1's factor below 1, of 65536."""
    return (decay.factor << 16 >> decay.shift) & 65535


def _next(name: str, decay: Decay) -> str:
    """Goes on to the next column."""
    bits = min(16, decay.shift)
    distance = spread(1, bits)
    assert isinstance(distance, int)
    less = -(distance << 16 - bits) & 65535
    return f"""
        mov a, r4 | add a, #{less & 255} | mov r4, a | mov a, r6 | addc a, #{less >> 8} | mov r6, a
        djnz left, {name}_c
        ret
    """


#: 65535 - N, of the row at R0, in A:B.
_NOISE = """
    mov a, r0 | add a, stride | mov r1, a | mov a, @r1 | add a, r4 | mov b, a
    mov a, @r0 | addc a, r6
"""


def far(decay: Decay) -> int:
    """How far from both ends of a byte the noise must be for l2 to take nothing of any weight, its
    upper byte being short of a carry: in 256ths of what makes t change what is taken."""
    return ceil(Fraction(32896 * decay.factor, 1 << decay.shift - 8)) + 1


#: Where noise is nearer to the ends for more than this share of the weights, all are tested.
_WORTH = 0.6


def l2_columns(name: str, decay: Decay) -> str:
    """DPTR leads to upper bytes. 23 cycles for a weight that stays, with one bit, or 10 where noise
    tells it alone; 9 a column.

    A weight S of 16 bits, which stands for R = S - 32896, is looked at: R * factor has 24 bits, and
    what it takes is (t - (65535 - N) - 1 >> 16) + 1. It never crosses 0, so nothing saturates.
    """
    b = Bounds.of(decay.factor, decay.shift)
    test = f"sjmp {name}_l"
    if b.most > 0:
        test = f"""
            movx a, @dptr | mov b, #{b.factor} | mul ab ; 8
            mov a, #{b.least & 255} | subb a, b | mov r2, a ; 3, the product clears the carry
            mov a, @r0 | addc a, r6 | {_ROTATED[b.bits]} | anl a, #{255 >> b.bits} ; 4
            add a, r2 | add a, #{256 - b.most} | jc {name}_l ; 4
        """
    near = far(decay)
    if 2 * near <= 256 * _WORTH:
        test = f"""
            mov a, @r0 | add a, r6 | add a, #{256 - near} | add a, #{2 * near} | jnc {name}_n ; 6
            {test}
        """
    start = -32896 * decay.factor
    times = f"mov b, #{decay.factor} | mul ab"
    return f"""
        {name}: mov left, r1
        {name}_c: mov r0, #rows | mov r7, stride
        {name}_r: {test}
        {name}_n: inc r0 | inc dpl | djnz r7, {name}_r ; 4
        {_next(name, decay)}
        {name}_l: movx a, @dptr | mov r5, a | down | movx a, @dptr ; 6
        {times} | add a, #{start & 255} | mov next, a ; 8
        mov a, b | addc a, #{start >> 8 & 255} | mov r2, a
        clr a | addc a, #{start >> 16 & 255} | mov r3, a ; 6
        mov a, r5 | {times} | add a, r2 | mov r2, a | mov a, b | addc a, r3 | mov r3, a ; 12
        {_shifted(decay.shift - 16)}
        {_NOISE}
        mov r5, a | setb c | mov a, next | subb a, b | mov a, r2 | subb a, r5
        mov a, r3 | subb a, #0 | inc a | jz {name}_u ; 20
        mov r2, a | rlc a | subb a, acc | mov r3, a
        movx a, @dptr | clr c | subb a, r2 | movx @dptr, a
        up | movx a, @dptr | subb a, r3 | movx @dptr, a | ljmp {name}_n
        {name}_u: up | ljmp {name}_n
    """


def _shifted(bits: int) -> str:
    """R3:R2:next, which has a sign, shifted to the right, by at most 13 bits."""
    text = ""
    if bits >= 8:
        text += "mov next, r2 | mov a, r3 | mov r2, a | rlc a | subb a, acc | mov r3, a\n"
        bits -= 8
    if bits <= 4:
        right = """
            mov a, r3 | mov c, acc.7 | rrc a | mov r3, a | mov a, r2 | rrc a | mov r2, a
            mov a, next | rrc a | mov next, a
        """
        return text + right * bits
    left = """
        mov a, next | add a, acc | mov next, a | mov a, r2 | rlc a | mov r2, a
        mov a, r3 | rlc a | mov r3, a | mov a, r5 | rlc a | mov r5, a
    """
    return f"""
        {text}
        mov a, r3 | rlc a | subb a, acc | mov r5, a
        {left * (8 - bits)}
        mov next, r2 | mov a, r3 | mov r2, a | mov a, r5 | mov r3, a
    """


def l1_columns(name: str, decay: Decay) -> str:
    """DPTR leads to lower bytes. 9 cycles for a weight that stays; 9 a column.

    So much is taken as the factor has above 1, and one more where 65535 - N, which begins less the
    share below 1, gives a carry with that share. A lower byte alone tells how far it is from 0
    where the upper one is 128; else it is further than what is taken, 128 at most.
    """
    share, whole = _share(decay), decay.factor >> decay.shift
    least = 65536 - share >> 8
    look = f"jc {name}_l" if not whole and least > 1 else f"sjmp {name}_l"
    return f"""
        {name}: mov left, r1
        {name}_c: mov r0, #rows | mov r7, stride
        {name}_r: mov a, @r0 | add a, r6 | add a, #{257 - least & 255} | {look} ; 5
        {name}_n: inc r0 | inc dpl | djnz r7, {name}_r ; 4
        {_next(name, decay)}
        {name}_l: {_NOISE}
        xch a, b | add a, #{share & 255} | mov a, b | addc a, #{share >> 8} ; 14
        clr a | addc a, #{whole} | jz {name}_n | mov r2, a ; 5
        up | movx a, @dptr | down | cjne a, #128, {name}_s ; 6
        movx a, @dptr | cjne a, #128, {name}_t
        sjmp {name}_n
        {name}_t: jc {name}_v
        subb a, r2 | cjne a, #128, {name}_w
        {name}_w: jnc {name}_k
        {name}_z: mov a, #128
        {name}_k: movx @dptr, a | sjmp {name}_n
        {name}_v: add a, r2 | cjne a, #128, {name}_x
        {name}_x: jnc {name}_z
        sjmp {name}_k
        {name}_s: movx a, @dptr | jc {name}_a ; 4
        subb a, r2 | movx @dptr, a | jnc {name}_m | up | movx a, @dptr | dec a
        {name}_y: movx @dptr, a | down
        {name}_m: ljmp {name}_n
        {name}_a: add a, r2 | movx @dptr, a | jnc {name}_m | up | movx a, @dptr | inc a
        sjmp {name}_y
    """


#: The subroutine of each kind, and the plane in which it begins.
COLUMNS = {"l2": (l2_columns, 1), "l1": (l1_columns, 0)}
