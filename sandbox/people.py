"""The business customers of the shop: made-up companies and their buyers.

Every mail address ends in .example, which no one can own (RFC 2606).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Buyer:
    """A person who orders for a company."""

    first_name: str
    last_name: str
    email: str

    @property
    def name(self) -> str:
        """The full name, in the order in which it is written."""
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True, slots=True)
class Company:
    """A business customer: its address, its currency and the tax it pays.

    `tax_rate` is a fraction; `duty_rate` and `import_tax_rate` apply where goods are imported.
    """

    name: str
    country: str
    state: str | None
    city: str
    postal_code: str
    street: str
    currency: str
    locale: str
    tax_rate: Decimal
    buyers: tuple[Buyer, ...]
    duty_rate: Decimal = Decimal(0)
    import_tax_rate: Decimal = Decimal(0)
    shipping_taxed: bool = True


def _buyers(domain: str, *people: tuple[str, str, str]) -> tuple[Buyer, ...]:
    return tuple(Buyer(first, last, f"{local}@{domain}.example") for first, last, local in people)


COMPANIES: tuple[Company, ...] = (
    Company(
        "Cascade Instruments Inc.", "US", "WA", "Seattle", "98109", "410 Westlake Ave N", "USD",
        "en_US", Decimal("0.1035"),
        _buyers("cascade-instruments", ("Dana", "Whitfield", "dana.whitfield"),
                ("Sean", "O'Brien", "sean.obrien")),
    ),
    Company(
        "Prairie State Dental Supply", "US", "IL", "Springfield", "62701", "1200 S 6th St", "USD",
        "en_US", Decimal("0.0625"),
        _buyers("prairie-dental", ("Marcus", "Johnson", "mjohnson"),
                ("Guadalupe", "Hernández-Ortiz", "ghernandez")),
        shipping_taxed=False,
    ),
    Company(
        "Lone Star Field Services LLC", "US", "TX", "Austin", "78701", "98 San Jacinto Blvd",
        "USD", "en_US", Decimal("0.0825"),
        _buyers("lonestar-field", ("Billie-Jean", "McAllister", "bj.mcallister"),
                ("Wei", "Chen", "wei.chen")),
    ),
    Company(
        "Granite Harbor Schools", "US", "NH", "Portsmouth", "03801", "1 Junkins Ave", "USD",
        "en_US", Decimal("0"), _buyers("graniteharbor", ("Ellen", "Proulx", "eproulx")),
    ),
    Company(
        "Maple Ridge Outfitters Ltd.", "CA", "ON", "Toronto", "M5V 3L9", "290 Bremner Blvd", "USD",
        "en_CA", Decimal("0"),
        _buyers("mapleridge", ("Geneviève", "Tremblay", "g.tremblay"),
                ("Arjun", "Singh", "arjun.singh")),
        duty_rate=Decimal("0.065"), import_tax_rate=Decimal("0.05"),
    ),
    Company(
        "Southern Cross Surveying Pty Ltd", "AU", "VIC", "Melbourne", "3000", "120 Collins St",
        "USD", "en_AU", Decimal("0"), _buyers("scsurvey", ("Kylie", "Nguyen", "kylie")),
        duty_rate=Decimal("0.05"), import_tax_rate=Decimal("0.10"),
    ),
    Company(
        "Nordlicht Werkzeuge GmbH", "DE", None, "Hamburg", "20457", "Am Sandtorkai 30", "EUR",
        "de_DE", Decimal("0.19"),
        _buyers("nordlicht-werkzeuge", ("Jörg", "Müller", "j.mueller"),
                ("Anneliese", "Groß", "a.gross")),
    ),
    Company(
        "Boulangeries Réunies SAS", "FR", None, "Lyon", "69002", "14 rue de la République", "EUR",
        "fr_FR", Decimal("0.20"),
        _buyers("boulangeries-reunies", ("Élodie", "Lefèvre", "elodie.lefevre"),
                ("Jean-Baptiste", "de La Rochefoucauld-Montbazon", "jb.delarochefoucauld")),
    ),
    Company(
        "Liffey Analytics DAC", "IE", None, "Dublin", "D02 X285", "77 Sir John Rogerson's Quay",
        "EUR", "en_IE", Decimal("0.23"),
        _buyers("liffey-analytics", ("Aoife", "Ní Bhriain", "aoife"),
                ("Ciarán", "O'Sullivan", "ciaran.osullivan")),
    ),
    Company(
        "Koninklijke Vereniging van Nederlandse Scheepsinstrumentmakers en Navigatietechnici B.V.",
        "NL", None, "Rotterdam", "3011 AA", "Wijnhaven 107", "EUR", "nl_NL", Decimal("0.21"),
        _buyers("kvnsn", ("Maria Magdalena Antoinette Wilhelmina",
                          "van den Heuvel-Oosterbroek tot Nijenrode", "m.vandenheuvel")),
    ),
    Company(
        "Pennine Building Supplies plc", "GB", None, "Leeds", "LS1 4AP", "3 Park Row", "GBP",
        "en_GB", Decimal("0.20"),
        _buyers("pennine-supplies", ("Harriet", "Ashworth", "h.ashworth"),
                ("Mohammed", "Iqbal", "m.iqbal")),
    ),
    Company(
        "Clyde & Forth Marine", "GB", None, "Glasgow", "G2 1AL", "40 George Square", "GBP",
        "en_GB", Decimal("0.20"), _buyers("clydeforth", ("Fergus", "MacLeòid", "fergus")),
        duty_rate=Decimal("0.025"), import_tax_rate=Decimal("0.20"),
    ),
    Company(
        "株式会社あおば精機", "JP", "東京都", "千代田区", "100-0005", "丸の内1-9-1", "JPY", "ja_JP",
        Decimal("0.10"),
        _buyers("aoba-seiki", ("太郎", "山田", "yamada"), ("花子", "佐藤", "sato.h")),
    ),
    Company(
        "Hakata Foods K.K.", "JP", "福岡県", "福岡市", "812-0011", "博多駅前2-1-1", "JPY", "ja_JP",
        Decimal("0.10"), _buyers("hakata-foods", ("Kenji", "Watanabe", "k.watanabe")),
    ),
    Company(
        "Gulf Crescent Trading W.L.L.", "KW", None, "Kuwait City", "13001", "Abdullah Al-Salem St",
        "KWD", "en_KW", Decimal("0"),
        _buyers("gulfcrescent", ("Fatima", "Al-Sabah", "fatima"),
                ("Yousef", "Al-Mutairi", "yousef")),
        duty_rate=Decimal("0.05"),
    ),
)  # fmt: skip


def company(name_start: str) -> Company:
    """Return the company whose name starts so; raises LookupError when there is none."""
    for candidate in COMPANIES:
        if candidate.name.startswith(name_start):
            return candidate
    raise LookupError(name_start)
