"""The accounts and buyers of generated orders: many, varied, and made once in a process.

Every mail address ends in .example, which no one can own (RFC 2606).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from sandbox.salesforce.ids import ids_of

ACCOUNTS = 12_000
BUYERS_OF_AN_ACCOUNT = 3
BUYERS = ACCOUNTS * BUYERS_OF_AN_ACCOUNT
FIRST_ACCOUNT = 10_000_000_000
FIRST_CONTACT = 20_000_000_000


@dataclass(frozen=True, slots=True)
class Market:
    """Where an account buys: its currency, its tax and duty, and how names are made there."""

    currency: str
    digits: int
    dollar: Decimal
    tax: Decimal
    duty: Decimal
    places: tuple[str, ...]
    trades: tuple[str, ...]
    forms: tuple[str, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    family_first: bool = False


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


MARKETS: tuple[Market, ...] = (
    Market("USD", 2, Decimal(1), Decimal("0.0825"), Decimal(0),
           _words("Cascade,Prairie,Lone Star,Granite,Blue Ridge,Bayou,Mesa,Keystone,Hudson,Ozark,"
                  "Great Lakes,Sierra,Palmetto,Tidewater,Badger,Yukon"),
           _words("Instruments,Dental Supply,Field Services,Schools,Tool & Die,Logistics,Foods,"
                  "Surveying,Print Works,Medical,Robotics,Marine,Farms,Aviation,Glass,Textiles"),
           ("Inc.", "LLC", "Corp.", 'LLC "West"', "Co., Ltd."),
           _words("Dana,Sean,Marcus,Guadalupe,Billie-Jean,Wei,Ellen,Priya,Jamal,Noor,Zoë,Diego"),
           _words("Whitfield,O'Brien,Johnson,Hernández-Ortiz,McAllister,Chen,Proulx,Nguyen,"
                  "Okafor,Smith,de la Cruz,Kowalczyk")),
    Market("EUR", 2, Decimal("0.92"), Decimal("0.19"), Decimal(0),
           _words("Nordlicht,Süderelbe,Hanse,Alpen,Rhein-Main,Schwarzwald,Ostsee,Lausitz,Eifel,"
                  "Allgäu,Böhmerwald,Münster"),
           _words("Werkzeuge,Messgeräte,Bäckereien,Druckluft,Prüftechnik,Schiffsbau,Großhandel,"
                  "Feinmechanik,Öfen,Kältetechnik"),
           ("GmbH", "GmbH & Co. KG", "AG", "e. K."),
           _words("Jörg,Anneliese,Käthe,Uwe,Björn,Ayşe,Matthias,Hülya,Jürgen,Änne"),
           _words("Müller,Groß,Weiß,Öztürk,Schäfer,Krüger,von der Heide,Çelik,Jäger,Köhler")),
    Market("EUR", 2, Decimal("0.92"), Decimal("0.20"), Decimal(0),
           _words("Rhône,Bretagne,Île-de-France,Auvergne,Côte d’Azur,Ardèche,Béarn,Vendée"),
           _words("Boulangeries,Électronique,Outillage,Vêtements,Pêcheries,Imprimerie,Fromagers"),
           ("SAS", "SARL", "et Fils"),
           _words("Élodie,Jean-Baptiste,Zoé,Loïc,Maëlle,François,Chloé,Gaël"),
           _words("Lefèvre,de La Rochefoucauld,Béranger,Gauthier,Nuñez,Étienne,L'Hôpital")),
    Market("GBP", 2, Decimal("0.79"), Decimal("0.20"), Decimal(0),
           _words("Pennine,Clyde,Severn,Mersey,Fenland,Cotswold,Solent,Trent"),
           _words("Building Supplies,Marine,Instruments,Brewing,Rail,Optics,Ceramics"),
           ("plc", "Ltd", "& Sons"),
           _words("Harriet,Mohammed,Fergus,Siân,Aoife,Nigel,Chidi,Imogen"),
           _words("Ashworth,Iqbal,MacLeòid,Ní Bhriain,Smythe-Jones,Patel,Adeyemi")),
    Market("JPY", 0, Decimal(151), Decimal("0.10"), Decimal(0),
           _words("青葉,博多,札幌,名古屋,横浜,神戸,仙台,金沢"),
           _words("精機,食品,電子,印刷,光学,運輸,工業"),
           ("株式会社", "有限会社"),
           _words("太郎,花子,健二,美咲,翔,結衣,大輔"),
           _words("山田,佐藤,渡辺,高橋,小林,𠮷田,斎藤"), family_first=True),
    Market("CAD", 2, Decimal("1.36"), Decimal("0"), Decimal("0.065"),
           _words("Maple Ridge,Laurentides,Gaspé,Okanagan,Fundy,Québec"),
           _words("Outfitters,Forestry,Hydro,Dairy,Énergie"), ("Ltd.", "Ltée", "Inc."),
           _words("Geneviève,Arjun,Tanya,Étienne,Mei"),
           _words("Tremblay,Singh,Côté,MacDonald,Wong")),
    Market("PLN", 2, Decimal("3.95"), Decimal("0.23"), Decimal(0),
           _words("Łódź,Gdańsk,Śląsk,Kraków,Mazury,Poznań"),
           _words("Narzędzia,Żegluga,Hurtownia,Piekarnie,Świetlówki"), ("Sp. z o.o.", "S.A."),
           _words("Łukasz,Małgorzata,Grzegorz,Zażółć,Agnieszka"),
           _words("Wiśniewski,Dąbrowska,Brzęczyszczykiewicz,Żuraw,Kozłowska")),
    Market("KWD", 3, Decimal("0.3075"), Decimal("0"), Decimal("0.05"),
           _words("Gulf Crescent,الخليج,Al-Safat,الواحة"),
           _words("Trading,للتجارة,Marine Supply,للمقاولات"), ("W.L.L.", "ذ.م.م."),
           _words("Fatima,Yousef,نورة,Khalid"), _words("Al-Sabah,Al-Mutairi,العنزي,Al-Rashid")),
)  # fmt: skip

_SHARES = (0,) * 46 + (1,) * 16 + (2,) * 9 + (3,) * 12 + (4,) * 6 + (5,) * 5 + (6,) * 4 + (7,) * 2


@dataclass(frozen=True, slots=True)
class Names:
    """Tables by account (names, ids, market) and by buyer (names, addresses, ids)."""

    account_names: Sequence[str]
    account_ids: Sequence[str]
    markets: Sequence[int]
    buyer_names: Sequence[str]
    buyer_emails: Sequence[str]
    buyer_ids: Sequence[str]


@cache
def names() -> Names:
    """Return the tables; about a tenth of a second's work, once."""
    markets = [_SHARES[number * 37 % 100] for number in range(ACCOUNTS)]
    buyers = range(BUYERS)
    return Names(
        account_names=[_account(number, MARKETS[at]) for number, at in enumerate(markets)],
        account_ids=ids_of("001", range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS)),
        markets=markets,
        buyer_names=[_buyer(number, MARKETS[markets[number // 3]]) for number in buyers],
        buyer_emails=[f"buyer{number}@account{number // 3}.example" for number in buyers],
        buyer_ids=ids_of("003", range(FIRST_CONTACT, FIRST_CONTACT + BUYERS)),
    )


def _account(number: int, market: Market) -> str:
    rest, place = divmod(number * 7, len(market.places))
    rest, trade = divmod(rest, len(market.trades))
    form = market.forms[number % len(market.forms)]
    # Companies of one name in one place are told apart by a number, as registers do.
    branch = f" {number}" if rest else ""
    return f"{market.places[place]} {market.trades[trade]}{branch} {form}"


def _buyer(number: int, market: Market) -> str:
    rest, first = divmod(number * 11, len(market.first_names))
    name = market.first_names[first]
    family = market.last_names[rest % len(market.last_names)]
    return f"{family} {name}" if market.family_first else f"{name} {family}"
