"""All of it at once: fake peers, a crowd, slow holders, bad ones, and honest sharers among them."""

from osp2p.lab.table import (
    KB,
    MB,
    Arrives,
    Attack,
    Attacks,
    File,
    Get,
    Hold,
    InParallel,
    Knows,
    Row,
    Scenario,
    Serves,
    Share,
    Track,
)

SHARED = (File("shared/large.bin", 10 * MB), File("shared/empty", 0), File("shared/a b ö.txt", 5 * KB))
CONTESTED = tuple(File(f"contested/{number}.bin", number * 100 * KB) for number in range(1, 6))
SLOW = tuple(File(f"slow/{number}.bin", 64 * KB) for number in range(1, 7))
HIT = File("hit.bin", 1 * MB)

SCENARIO = Scenario(
    title="sharers, a crowd, slow and bad peers and fakes, all at once",
    rows=(
        Row(who="tracker", when=1, does=Track(fakes=True), expect=(Knows(peers=350),)),
        Row(who="anna", when=2, does=Share(files=SHARED), expect=(Serves(),)),
        Row(who="ben", when=2, does=Hold(files=CONTESTED), expect=(Serves(),)),
        Row(who="crowd", when=2, does=Hold(files=(HIT,), peers=100), expect=(Serves(),)),
        *(
            Row(who=f"snail{number}", when=2, does=Hold(files=(file,), rate=32 * KB))
            for number, file in enumerate(SLOW, start=1)
        ),
        Row(who="evil", when=3, does=Attack(files=(*CONTESTED, *SHARED, HIT), peers=6), expect=(Attacks(at_least=1),)),
        Row(
            who="dora",
            when=4,
            does=Get(files=(*SHARED, *CONTESTED, *SLOW, HIT)),
            expect=(Arrives(), InParallel(below=0.9)),
        ),
    ),
)
