from collections import Counter
import pytest
from tests.services.test_settling import *
from tests.services.test_settling import Schedule
from refunds.models import HistoryEntry
pytestmark = pytest.mark.django_db
TOT=Counter()
@pytest.mark.parametrize("seed", range(24))
def test_stat(desk, wire, seed):
    case = ("all_options", "worked_sample", "jpy", "partly_cancelled")[seed % 4]
    order=desk.order(case); Schedule(desk,wire,order,seed).run(steps=14)
    for e in HistoryEntry.objects.all():
        if e.from_state!=e.to_state: TOT[(e.from_state,e.to_state)]+=1
    TOT["posts"]+=len(wire.posts)
def test_show():
    print(); [print(k,v) for k,v in sorted(TOT.items(),key=str)]
for _n in [n for n in list(globals()) if n.startswith("test_") and n not in("test_stat","test_show")]: del globals()[_n]
