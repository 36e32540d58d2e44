"""What PlatformIO calls the boards that Rillet knows."""

from collections.abc import Mapping

PLATFORMIO: Mapping[str, tuple[str, str]] = {
    "esp32s3": ("espressif32", "esp32-s3-devkitc-1"),
    "nano33ble": ("nordicnrf52", "nano33ble"),
    "nrf52840": ("nordicnrf52", "nrf52840_dk"),
    "rp2040": ("raspberrypi", "pico"),
    "stm32f746": ("ststm32", "nucleo_f746zg"),
    "stm32h743": ("ststm32", "nucleo_h743zi"),
    "stm32l4r5": ("ststm32", "nucleo_l4r5zi"),
}
"""By Rillet's name: platform and board."""
