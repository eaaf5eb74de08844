"""Stands in for a platform of PlatformIO's registry, with compilers from PATH."""

from platformio.platform.base import PlatformBase


class StandInPlatform(PlatformBase):
    def is_embedded(self):
        return True


Intel_mcs51Platform = StandInPlatform
Ststm32Platform = Nordicnrf51Platform = StandInPlatform
