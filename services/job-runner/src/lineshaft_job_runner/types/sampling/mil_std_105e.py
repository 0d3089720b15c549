"""Single sampling plans of MIL-STD-105E: tables I, II-A, II-B and II-C.

Source: MIL-STD-105E, Sampling Procedures and Tables for Inspection by Attributes, 10 May 1989, a
public-domain document of the government of the United States.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from lineshaft_contracts.sampling import AQLS, InspectionLevel, Severity

_LETTERS = """
2 AAAAAAB
9 AAAAABC
16 AABBBCD
26 ABBCCDE
51 BBCCCEF
91 BBCDDFG
151 BCDEEGH
281 BCDEFHJ
501 CCEFGJK
1201 CDEGHKL
3201 CDFGJLM
10001 CDFHKMN
35001 DEGJLNP
150001 DEGJMPQ
500001 DEHKNQR
"""
"""Table I: the smallest lot of each row, and its letters for S-1 to S-4, I, II and III."""

_NORMAL = """
A 2 v v v v v v v v v v v v v v 0 v v 1 2 3 5 7 10 14 21 30
B 3 v v v v v v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 30 44
C 5 v v v v v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 30 44 ^
D 8 v v v v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 30 44 ^ ^
E 13 v v v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 30 44 ^ ^ ^
F 20 v v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^
G 32 v v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^
H 50 v v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^
J 80 v v v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^
K 125 v v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
L 200 v v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
M 315 v v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
N 500 v v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
P 800 v 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
Q 1250 0 ^ v 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
R 2000 ^ ^ 1 2 3 5 7 10 14 21 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
"""
_TIGHTENED = """
A 2 v v v v v v v v v v v v v v v v v v 1 2 3 5 8 12 18 27
B 3 v v v v v v v v v v v v v v 0 v v 1 2 3 5 8 12 18 27 41
C 5 v v v v v v v v v v v v v 0 v v 1 2 3 5 8 12 18 27 41 ^
D 8 v v v v v v v v v v v v 0 v v 1 2 3 5 8 12 18 27 41 ^ ^
E 13 v v v v v v v v v v v 0 v v 1 2 3 5 8 12 18 27 41 ^ ^ ^
F 20 v v v v v v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^
G 32 v v v v v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^
H 50 v v v v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^
J 80 v v v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^
K 125 v v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
L 200 v v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
M 315 v v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
N 500 v v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
P 800 v v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
Q 1250 v 0 v v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
R 2000 0 ^ v 1 2 3 5 8 12 18 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
S 3150 . . 1 . . . . . . . . . . . . . . . . . . . . . . .
"""
_REDUCED = """
A 2 v v v v v v v v v v v v 0 0 0 0/2 0/2 1 2 3 5 7 10 14 21 30
B 2 v v v v v v v v v v v v 0 0 0 0/2 0/2 1/3 2/4 3/5 5 7 10 14 21 30
C 2 v v v v v v v v v v v v 0 0 v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 14/17 21/24 30
D 3 v v v v v v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 14/17 21/24 ^ ^
E 5 v v v v v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 14/17 21/24 ^ ^ ^
F 8 v v v v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^
G 13 v v v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^
H 20 v v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^
J 32 v v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^
K 50 v v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
L 80 v v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
M 125 v v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
N 200 v v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
P 315 v 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
Q 500 0 ^ v 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
R 800 ^ ^ 0/2 1/3 1/4 2/5 3/6 5/8 7/10 10/13 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^
"""
"""Tables II-A to II-C: letter, sample size, and a cell for each AQL from 0.010 to 1000.

A cell is the acceptance number, with the rejection number where that is not the next one; v and ^
are the arrows to the first plan below or above; a dot is no plan at all.
"""

DOWN, UP = "v", "^"


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """A plan of the tables, before it is known how large the lot is."""

    letter: str
    """Of the row that the arrows lead to."""
    sample_size: int
    acceptance_number: int
    rejection_number: int


_Rows: TypeAlias = tuple[tuple[str, int, tuple[str, ...]], ...]


def _rows(table: str) -> _Rows:
    found = [line.split() for line in table.strip().splitlines()]
    return tuple((letter, int(size), tuple(cells)) for letter, size, *cells in found)


_TABLES: Mapping[Severity, _Rows] = MappingProxyType(
    {
        Severity.NORMAL: _rows(_NORMAL),
        Severity.TIGHTENED: _rows(_TIGHTENED),
        Severity.REDUCED: _rows(_REDUCED),
    }
)
_LEVELS = tuple(InspectionLevel)
_LOT_SIZES = tuple(int(line.split()[0]) for line in _LETTERS.strip().splitlines())
_LOT_LETTERS = tuple(line.split()[1] for line in _LETTERS.strip().splitlines())


def code_letter(lot_size: int, level: InspectionLevel) -> str:
    """Find the sample size code letter of a lot (table I); a lot of 1 counts as one of 2."""
    row = bisect_right(_LOT_SIZES, max(lot_size, 2)) - 1
    return _LOT_LETTERS[row][_LEVELS.index(level)]


def plan(letter: str, aql: float, severity: Severity) -> TablePlan:
    """Find the plan of a code letter, along the arrows (tables II-A to II-C)."""
    rows, column = _TABLES[severity], AQLS.index(aql)
    row = next(number for number, (known, _, _) in enumerate(rows) if known == letter)
    while (cell := rows[row][2][column]) in {DOWN, UP}:
        row += 1 if cell == DOWN else -1
    acceptance, _, rejection = cell.partition("/")
    return TablePlan(
        letter=rows[row][0],
        sample_size=rows[row][1],
        acceptance_number=int(acceptance),
        rejection_number=int(rejection or int(acceptance) + 1),
    )
