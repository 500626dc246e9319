"""What the shop sells: a catalogue of business equipment, with prices in US dollars."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Product:
    """An article. `weight` is in grams, `fee_per_unit` in US dollars before tax."""

    sku: str
    part_number: str
    name: str
    price: Decimal
    origin: str = "TW"
    weight: int = 500
    fee_type: str | None = None
    fee_per_unit: Decimal = Decimal(0)
    physical: bool = True


def _product(  # noqa: PLR0917 -- a row of the table below
    sku: str,
    part_number: str,
    name: str,
    price: str,
    origin: str,
    weight: int,
    fee: tuple[str, str] | None = None,
) -> Product:
    fee_type, fee_per_unit = fee if fee is not None else (None, "0")
    return Product(
        sku=sku,
        part_number=part_number,
        name=name,
        price=Decimal(price),
        origin=origin,
        weight=weight,
        fee_type=fee_type,
        fee_per_unit=Decimal(fee_per_unit),
        physical=weight > 0,
    )


PRODUCTS: tuple[Product, ...] = (
    _product("NW-SW-24P", "SW24P-EU-3", "24-port managed switch, PoE+", "389.00", "TW", 3400,
             ("e_waste", "1.20")),
    _product("NW-SW-08", "SW08-B", "8-port desktop switch", "64.90", "CN", 420,
             ("e_waste", "0.35")),
    _product("NW-AP-AX", "AP-AX6-W", "Ceiling access point Wi-Fi 6", "179.00", "TW", 610,
             ("e_waste", "0.50")),
    _product("NW-RT-5G", "RT5G-RM", "Rugged 5G router", "749.00", "FI", 980, ("weee", "0.90")),
    _product("NW-PD-12", "PDU12-C13", "Rack power strip, 12 x C13", "118.50", "DE", 2100,
             ("weee", "0.80")),
    _product("CB-CAT6-03", "C6A-03-BL", "Patch cable Cat 6A, 3 m, blue", "7.45", "CN", 110),
    _product("CB-CAT6-10", "C6A-10-GY", "Patch cable Cat 6A, 10 m, grey", "16.20", "CN", 320),
    _product("CB-FO-OM4", "FO-OM4-15", "Fibre patch cable OM4, 15 m", "29.80", "CZ", 140),
    _product("CB-USBC-2", "UC-2M-100", "USB-C cable 100 W, 2 m", "12.99", "CN", 80),
    _product("SC-HH-2D", "HH2D-BT", "Handheld 2D barcode scanner, Bluetooth", "214.00", "MX", 330,
             ("battery", "0.25")),
    _product("SC-RG-XR", "XR-RING-2", "Ring scanner, extended range", "498.00", "MX", 140,
             ("battery", "0.25")),
    _product("SC-CR-04", "CRD-4-US", "Four-slot charging cradle", "156.00", "CN", 900,
             ("weee", "0.60")),
    _product("PR-LB-4", "LB4-300DPI", "Label printer 4 inch, 300 dpi", "432.00", "MY", 2600,
             ("weee", "1.10")),
    _product("PR-LB-RL", "LR-100x150", "Labels 100 x 150 mm, roll of 500", "18.75", "PL", 700,
             ("packaging", "0.04")),
    _product("PR-RB-110", "RB-110-W", "Wax ribbon 110 mm x 300 m", "9.60", "FR", 350),
    _product("PR-PT-HD", "PH-300-LB4", "Print head for LB4", "139.00", "JP", 180),
    _product("TB-FLD-10", "FT10-LTE", "Field tablet 10 inch, LTE", "1129.00", "TW", 1150,
             ("battery", "0.75")),
    _product("TB-FLD-BT", "FT10-BAT", "Spare battery for field tablet", "89.00", "KR", 310,
             ("battery", "0.75")),
    _product("TB-FLD-CS", "FT10-CASE", "Drop case for field tablet", "54.00", "VN", 260),
    _product("TB-STY-01", "STY-ACT", "Active stylus", "39.50", "CN", 30, ("battery", "0.05")),
    _product("UP-1500", "UPS1500-RT", "Rack UPS 1500 VA", "612.00", "PH", 21500,
             ("battery", "4.80")),
    _product("UP-BAT-15", "UPS15-RBC", "Replacement battery pack for UPS", "148.00", "VN", 9800,
             ("battery", "4.80")),
    _product("HS-DUO-BT", "HSD-BT-ANC", "Stereo headset, noise cancelling", "169.00", "CN", 210,
             ("battery", "0.10")),
    _product("HS-MON-US", "HSM-USB", "Mono headset, USB", "48.00", "CN", 130),
    _product("CM-ROOM-4K", "RC4K-PTZ", "Room camera 4K with pan and tilt", "899.00", "KR", 1900,
             ("weee", "0.60")),
    _product("CM-DESK-HD", "DC-HD-2", "Desk camera", "79.00", "CN", 160),
    _product("DS-27-QHD", "M27Q-H", "Monitor 27 inch QHD, height adjustable", "329.00", "CN", 6200,
             ("weee", "2.40")),
    _product("DS-ARM-2", "ARM-DUAL", "Dual monitor arm", "128.00", "TW", 4300),
    _product("ST-NVME-2", "NV2T-PRO", "NVMe drive 2 TB", "174.00", "KR", 10),
    _product("ST-NAS-4", "NAS4-8G", "4-bay network storage", "518.00", "TW", 2300,
             ("copyright", "6.00")),
    _product("ST-USB-128", "UF128-K", "Encrypted USB stick 128 GB", "68.00", "TW", 20,
             ("copyright", "0.30")),
    _product("TL-CRIMP", "CRM-RJ45", "Crimping tool RJ45", "34.00", "DE", 420),
    _product("TL-TEST-6", "LT-6A", "Cable certifier Cat 6A", "1840.00", "US", 1300,
             ("battery", "0.75")),
    _product("SF-MDM-1Y", "MDM-STD-12", "Device management, per device and year", "36.00", "US", 0),
    _product("SF-WMS-1Y", "WMS-PRO-12", "Warehouse suite, per seat and year", "240.00", "US", 0),
    _product("SV-CARE-3", "CARE-3Y-NBD", "Care pack 3 years, next business day", "119.00", "IE", 0),
)  # fmt: skip


def product(sku: str) -> Product:
    """Return the article with this SKU; raises LookupError when there is none."""
    for candidate in PRODUCTS:
        if candidate.sku == sku:
            return candidate
    raise LookupError(sku)
